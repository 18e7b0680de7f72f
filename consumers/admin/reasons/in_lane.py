"""Why a job that waits in a lane is not taken: the lane is left out, or it is not its turn."""

from __future__ import annotations

from consumers.admin.reasons.case import Case
from consumers.admin.reasons.nobody import job_of, names_of
from consumers.admin.reasons.row import Row
from consumers.admin.reasons.words import at, counted, for_how_long

# Why a job waits in the lane of its event; JobInfo has it as well.
SET_ASIDE = (
    "the worker that received it does not handle its event, or the event was paused: it waits for "
    "a worker that runs it"
)


def _is_there(case: Case) -> bool:
    return case.waits and case.it.has_entry


def _is_left_out(case: Case) -> bool:
    return not (case.it.has_group and case.it.is_listed) or case.it.is_passed


def _may_start(case: Case) -> bool:
    return _is_there(case) and not _is_left_out(case) and bool(case.able)


def _where(case: Case) -> str:
    number = len(case.able)
    may = "worker may run it" if number == 1 else "workers may run it"
    return f"waits in {job_of(case)}: {number:,} {may} ({names_of(case.able)})"


def _ahead(case: Case) -> str:
    """Return how many jobs are before it: "more than 100 jobs", "1 job"."""
    more = "more than " if case.is_more_ahead else ""
    return f"{more}{counted(case.ahead, 'job')}"


def _taken(case: Case) -> str:
    taken = "its slot is" if case.slots == 1 else f"all {case.slots:,} slots are"
    if not case.ahead:
        return f"{_where(case)}, {taken} taken; nothing is before it in its lane"
    go = "goes" if case.ahead == 1 and not case.is_more_ahead else "go"
    return f"{_where(case)}, {taken} taken; {_ahead(case)} of higher priority or older {go} first"


def _behind(case: Case) -> str:
    higher = " of higher priority" if case.higher else ""
    if case.higher < case.ahead:
        higher = f", {case.higher:,} of them{higher}" if higher else ""
    return f"{_where(case)}, {case.free:,} of {counted(case.slots, 'slot')} " + (
        f"{'is' if case.free == 1 else 'are'} free; it is behind {_ahead(case)}{higher}"
    )


def _next(case: Case) -> str:
    are = "is" if case.free == 1 else "are"
    return (
        f"{_where(case)}, {case.free:,} of {counted(case.slots, 'slot')} {are} free; nothing is "
        "before it: it should start at once"
    )


def _expired(case: Case) -> str:
    expired = case.expires_ms or 0
    return (
        f"expired at {at(expired)}, {for_how_long(case.it.now_ms - expired)} ago: it ends as "
        "cancelled when a worker reaches it"
    )


def _is_in_event_lane(case: Case) -> bool:
    return _is_there(case) and case.lane.event is not None and case.lane.version == 1


ROWS = (
    Row(
        "no_group",
        lambda case: _is_there(case) and not case.it.has_group,
        lambda case: f"its lane {case.it.job.place!r} cannot be read, because consumer "
        f"group {case.lane.group!r} is gone; the next worker that reads it creates it again",
    ),
    Row(
        "not_listed",
        lambda case: _is_there(case) and not case.it.is_listed,
        lambda case: f"no worker reads its lane {case.lane.name!r}: queue {case.it.queue!r} does "
        "not list it any more, until another job is added to it",
    ),
    Row(
        "passed_over",
        lambda case: _is_there(case) and case.it.is_passed,
        lambda case: f"no worker will get it: consumer group {case.lane.group!r} is past its entry "
        f"in {case.it.job.place!r} and nobody has it, because somebody changed the group in Redis",
    ),
    Row("expired", lambda case: case.is_too_late, _expired),
    Row(
        "slots_taken",
        lambda case: _may_start(case) and not case.free,
        _taken,
        may_be_detail=False,
    ),
    Row(
        "behind",
        lambda case: _may_start(case) and bool(case.free)
        and (case.ahead > 0 or case.is_more_ahead),
        _behind,
        may_be_detail=False,
    ),
    Row(
        "next",
        lambda case: _may_start(case) and bool(case.free)
        and not (case.ahead or case.is_more_ahead),
        _next,
        may_be_detail=False,
    ),
    Row("set_aside", _is_in_event_lane, lambda case: SET_ASIDE),
)  # fmt: skip
