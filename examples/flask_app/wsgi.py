"""A web app that hands reports to background workers and shows how far they are."""

from flask import Flask, abort, redirect, render_template_string, request, url_for
from flask.typing import ResponseReturnValue
from taskmanager import InvalidInput, JobInfo, JobState, QueueFull, RedisUnavailable

from jobs import build_report, tm

ENDED = {JobState.COMPLETED, JobState.DEAD, JobState.CANCELLED}

FORM = """<!doctype html>
<title>Reports</title>
<form method="post" action="{{ url_for('create_report') }}">
  <label>Customer <input name="customer" required maxlength="100"></label>
  <label>Pages <input name="pages" type="number" value="3" min="1" max="1000"></label>
  <button>Build</button>
</form>
"""

STATUS = """<!doctype html>
<title>Report</title>
{% if not ended %}<meta http-equiv="refresh" content="1">{% endif %}
<p>State: {{ info.state }}</p>
{% if progress %}
<progress value="{{ progress.done }}" max="{{ progress.total }}"></progress>
{% endif %}
{% if info.state == "completed" %}
<p><a href="{{ url_for('read_result', job_id=info.id) }}">The report</a></p>
{% elif not ended %}
<form method="post" action="{{ url_for('cancel_report', job_id=info.id) }}">
  <button>Cancel</button>
</form>
{% endif %}
"""

app = Flask(__name__)


@app.get("/")
def index() -> str:
    return render_template_string(FORM)


@app.post("/reports")
def create_report() -> ResponseReturnValue:
    pages = request.form.get("pages", 3, type=int)
    handle = build_report.emit_sync(request.form["customer"], pages)
    return redirect(url_for("show_report", job_id=handle.id), 303)


@app.get("/reports/<job_id>")
def show_report(job_id: str) -> str:
    info = known_report(job_id)
    progress = tm.sync.handle(info.id, info.queue).progress()
    return render_template_string(STATUS, info=info, progress=progress, ended=info.state in ENDED)


@app.get("/reports/<job_id>/result")
def read_result(job_id: str) -> ResponseReturnValue:
    info = known_report(job_id)
    if info.state is not JobState.COMPLETED:
        abort(410 if info.state in ENDED else 409)
    return dict(info.result)


@app.post("/reports/<job_id>/cancel")
def cancel_report(job_id: str) -> ResponseReturnValue:
    info = known_report(job_id)
    tm.sync.handle(info.id, info.queue).cancel()
    return redirect(url_for("show_report", job_id=job_id), 303)


def known_report(job_id: str) -> JobInfo:
    info = tm.sync.get_job(job_id, build_report.queue)
    if info is None:
        abort(404)
    return info


@app.errorhandler(InvalidInput)
def refuse(error: InvalidInput) -> ResponseReturnValue:
    """Answer 400 for a malformed id, or for data that is too large."""
    return str(error), 400


@app.errorhandler(QueueFull)
@app.errorhandler(RedisUnavailable)
def ask_again_later(error: Exception) -> ResponseReturnValue:
    """Answer 503 while Redis is away or the queue is full."""
    return "Try again later.", 503, {"Retry-After": "5"}
