"""What a worker tells of a run that it settles, to be kept beside its end: see facts.lua."""

from __future__ import annotations

from consumers.jobs.names import is_name
from consumers.jobs.outcome import AFTER_A_RUN, Buried, Completed, Outcome, Released, RetryAt
from consumers.jobs.past import errors_in, noted
from consumers.jobs.run_facts import LAYOUT, part, starts
from consumers.store.delivery import Delivery

# "<created>,<starts>,<event><more>"; empty where nothing is to be kept.
Told = str | bytes


def facts_of(delivery: Delivery, outcome: Outcome) -> Told:
    """Return the facts about a run that its settle sends with the outcome."""
    envelope, last = delivery.envelope, delivery.started_ms
    created, event = envelope.created_at, envelope.event
    is_long = envelope.first_started or envelope.failures or delivery.keeps_data
    if last and not is_long and not isinstance(outcome, Buried):
        # Most run once and are done.
        return f"{created},{last - created},{event}"
    if envelope.version == 0:
        # A foreign entry.
        return ""
    if not last and not is_name(event):
        # What has a handler is a name; anything else may be what somebody made up.
        event = ""
    attempts = envelope.failures + (last > 0 or _is_of_a_run(outcome))
    began = starts(created, delivery.first_started, last, attempts)
    return f"{created},{began},{event}".encode() + _more(delivery, outcome)


def written(worker: str, told: Told, now_ms: int) -> bytes:
    """Return the facts of a run that ends now as they are kept: what facts.lua does elsewhere."""
    if not told:
        return b""
    text = told if isinstance(told, bytes) else told.encode()
    return f";{LAYOUT},{worker},{now_ms},".encode() + text


def _is_of_a_run(outcome: Outcome) -> bool:
    """Whether it is one even if no handler was called: middleware may decide instead."""
    if isinstance(outcome, Buried):
        return outcome.reason in AFTER_A_RUN
    return isinstance(outcome, Completed)


def _more(delivery: Delivery, outcome: Outcome) -> bytes:
    envelope, kept = delivery.envelope, b""
    if isinstance(outcome, RetryAt | Released):
        # It goes on. Where somebody cancelled it meanwhile, its entry has them.
        return part("d", b"") if delivery.keeps_data else kept
    if not isinstance(outcome, Buried):
        kept = part("e", envelope.errors) if envelope.errors else kept
    elif kind := _last_type(outcome.errors or envelope.errors):
        # Its letter has the rest of them.
        kept = part("t", kind)
    return kept + part("d", envelope.data) if delivery.keeps_data else kept


def _last_type(errors: bytes) -> bytes:
    try:
        last = errors_in(noted(errors))[-1]
        return str(last["type"]).encode("utf-8", "backslashreplace")
    except (ValueError, LookupError, TypeError):
        return b""
