"""Why a job does not run: there is none, it has ended, or it is out of reach."""

from __future__ import annotations

from consumers.admin.dead_letters import DeadLetter
from consumers.admin.facts import End
from consumers.admin.reasons.case import Case
from consumers.admin.reasons.row import Row
from consumers.admin.reasons.words import at, brief, for_how_long
from consumers.jobs.run_facts import RunFacts, read_facts


def _ended(case: Case) -> str:
    end, letter = case.it.job.past(None)
    kept = read_facts(end.kept) if end is not None else None
    if letter is not None:
        return _dead(letter, kept)
    assert end is not None, "a job without any end is unknown"
    when = f" at {at(kept.finished_at)}" if kept else ""
    on = f" on {kept.worker}" if kept and kept.worker else ""
    if end.state == "completed":
        return f"completed{when}{on}"
    return f"died{when}{on}, and its dead letter is gone" if end.state == "dead" else (
        f"was cancelled{when}{on}{_why(end)}"
    )  # fmt: skip


def _why(end: End) -> str:
    why = brief(end.value.decode("utf-8", "replace"))
    return "" if why in ("", "cancelled") else f": {why}"


def _dead(letter: DeadLetter, kept: RunFacts | None) -> str:
    on = f" on {kept.worker}" if kept and kept.worker else ""
    died = at(letter.died_at.timestamp() * 1000)
    last = letter.errors[-1].get("error") if letter.errors else letter.error
    error = f": {brief(str(last))}" if last else ""
    return f"became a dead letter at {died}{on} ({letter.reason}){error}"


def _coming(case: Case) -> str:
    coming = case.it.coming
    assert coming is not None, "there is a schedule for it"
    left = coming.fires_ms - case.it.now_ms
    return (
        f"schedule {coming.schedule!r} emits it at {at(coming.fires_ms)}, in {for_how_long(left)}"
    )


def _has_ended(case: Case) -> bool:
    return not case.lives and case.it.job.past(None) != (None, None)


def _is_gone(case: Case) -> bool:
    return not case.lives and not _has_ended(case)


def _unknown(case: Case) -> str:
    return (
        f"is not known in queue {case.it.queue!r}: it never existed, or it ended and its result "
        "has expired"
    )


ROWS = (
    Row("scheduled", lambda case: _is_gone(case) and case.it.coming is not None, _coming),
    Row("unknown", lambda case: _is_gone(case) and case.it.coming is None, _unknown),
    Row("ended", _has_ended, _ended),
    Row(
        "parked",
        lambda case: case.lives and not case.in_stream and not case.is_put_off,
        lambda case: "was set aside by a newer version of taskmanager; this version cannot see "
        "why",
    ),
    Row(
        "foreign",
        lambda case: case.in_stream and case.it.kind not in ("stream", "none"),
        lambda case: f"cannot be read: the key of its lane {case.it.job.place!r} holds a "
        f"{case.it.kind} instead of a stream",
    ),
    Row(
        "vanished",
        lambda case: case.in_stream and case.it.kind in ("stream", "none")
        and not case.it.has_entry,
        lambda case: f"is lost: somebody deleted its entry from its lane {case.it.job.place!r} in "
        "Redis",
    ),
    Row(
        "unreadable",
        lambda case: case.is_put_off and not case.it.has_entry,
        lambda case: "is lost: what was kept of it until it is due is gone from Redis, or cannot "
        "be read",
    ),
)  # fmt: skip
