"""Why a job that a worker has is still going, or has not begun."""

from __future__ import annotations

from consumers.admin.reasons.case import Case
from consumers.admin.reasons.row import Row
from consumers.admin.reasons.words import counted, for_how_long


def _expired(case: Case) -> str:
    return (
        f"{case.holder} has not renewed its lease for {for_how_long(case.idle_ms)} (the lease is "
        f"{for_how_long(case.it.lease_ms)}): another worker will take it over"
    )


def _cancelled(case: Case) -> str:
    if not case.is_held:
        return "was cancelled: it ends without a run as soon as a worker reaches it"
    return (
        f"was cancelled: {case.holder} has been asked to stop it, and it can only end as cancelled"
    )


def _held(case: Case) -> str:
    held = f"is held by {case.holder} and has not started"
    if case.is_suspect:
        return (
            f"{held}: {counted(case.crashes, 'worker')} died with it, so it waits to run alone "
            "there"
        )
    holding = case.holding
    if holding is not None and holding.state.running >= holding.state.slots:
        taken = counted(holding.state.slots, "slot")
        return f"{held}: all {taken} of {case.holder} are taken"
    return f"{held}: {case.holder} fetched it ahead"


def _running(case: Case) -> str:
    alone = ""
    if case.it.solo_runs and case.is_suspect:
        alone = f", alone because {counted(case.crashes, 'worker')} died with it"
    return f"{_since(case)}{alone}{_silence(case)}"


def _since(case: Case) -> str:
    if case.it.start.at_ms:
        began = for_how_long(case.it.now_ms - case.it.start.at_ms)
        return f"has been running on {case.holder} for {began}"
    has = "got it" if case.was_just_added else "has it and renewed its lease"
    return f"{case.holder} {has} {for_how_long(case.idle_ms)} ago; its start is not reported yet"


def _silence(case: Case) -> str:
    holding = case.holding
    left = for_how_long(case.it.lease_ms - case.idle_ms)
    over = f": another worker takes it over in {left}, unless it is heard of again"
    if holding is None:
        return f"; {case.holder} is not listed as live{over}"
    if case.is_silent(holding):
        return f"; {case.holder} was last heard of {for_how_long(case.silence_ms(holding))} ago"
    return f"; {case.holder} is stopping" if holding.state.stopping else ""


ROWS = (
    Row("lease_expired", lambda case: case.has_expired, _expired),
    Row("cancelled", lambda case: case.in_stream and case.it.is_cancelled, _cancelled),
    Row("held", lambda case: case.has_not_started and not case.has_expired, _held),
    Row(
        "running",
        lambda case: case.is_held and not case.has_not_started and not case.has_expired,
        _running,
    ),
)
