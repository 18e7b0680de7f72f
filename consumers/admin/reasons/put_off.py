"""Why a job is put off: it is delayed, debounced or to be retried."""

from __future__ import annotations

from typing import Any

from consumers.admin.reasons.case import Case
from consumers.admin.reasons.row import Row
from consumers.admin.reasons.words import at, brief, counted, for_how_long
from consumers.jobs.past import errors_in, noted, reason_in


def _is(state: str, case: Case) -> bool:
    return case.is_put_off and case.it.has_entry and case.it.job.place == state


def _overdue(case: Case) -> str:
    late = case.it.now_ms - (case.it.job.due_ms or 0)
    return (
        f"has been due for {for_how_long(late)}, and no worker of queue {case.it.queue!r} has "
        "moved it to its lane yet"
    )


def _when(case: Case) -> str:
    due = case.it.job.due_ms or 0
    return f"at {at(due)}, in {for_how_long(case.due_in_ms)}"


def _retrying(case: Case) -> str:
    envelope = case.envelope
    try:
        listed = noted(envelope.errors) if envelope is not None else []
    except ValueError:
        listed = []
    again = f"runs again {_when(case)}"
    if (why := reason_in(listed)) is not None:
        return f"was postponed by its handler ({brief(why)}) and {again}"
    failed = counted(envelope.failures, "time") if envelope is not None else "before"
    return f"failed {failed}{_last_error(errors_in(listed))} and {again}"


def _last_error(errors: list[Any]) -> str:
    last = errors[-1] if errors and isinstance(errors[-1], dict) else {}
    error = last.get("error")
    return f", last with {brief(str(error))!r}," if error else ""


ROWS = (
    Row("overdue", lambda case: case.is_overdue and case.it.has_entry, _overdue),
    Row(
        "delayed",
        lambda case: _is("delayed", case) and not case.is_overdue,
        lambda case: f"is delayed: due {_when(case)}",
    ),
    Row(
        "debounced",
        lambda case: _is("debounced", case) and not case.is_overdue,
        lambda case: f"is debounced: due {_when(case)}, or later if another emit comes first",
    ),
    Row("retrying", lambda case: _is("retrying", case) and not case.is_overdue, _retrying),
)
