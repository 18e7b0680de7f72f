"""Describe what became of a job, in one harmless line of bounded length."""

from __future__ import annotations

from typing import Any

from consumers.jobs.outcome import Buried, Cancelled, Completed, Outcome, Ran, Released, RetryAt
from consumers.jobs.texts import ERROR_LIMIT, describe, duration, message_of, shortened, shown
from consumers.store.delivery import Delivery
from consumers.store.entries import added_ms
from consumers.store.settling import Settlement
from processors.retries.groups import signal_of
from processors.retries.history import line_of
from processors.retries.signals import Retry
from taskmanager.escapes import escaped

# Bytes of an error in a line. The traceback and the dead letter have more of it.
_TEXT_LIMIT = 500
_FAULTS_SHOWN = 5
# The least that an error takes in a traceback besides its text.
_FRAME = 100
# The reason of a job ended by handle.cancel(), which adds nothing to the sentence.
_PLAINLY = "cancelled"
_HOUR = 3600.0

_WORDS: dict[type, str] = {
    Completed: "completed",
    Cancelled: "cancelled",
    RetryAt: "postponed",
    Released: "returned to the queue",
}
# The field of a line, which programs read.
_OUTCOMES: dict[type, str] = {**_WORDS, RetryAt: "put_off", Released: "handed_back"}


def word_of(outcome: Outcome) -> str:
    """Return the word under which jobs with such an outcome are counted."""
    return _WORDS[type(outcome)]


def ended(settlement: Settlement) -> str:
    """Return the sentence about a run that did not fail, without its subject."""
    outcome, ran = settlement.outcome, settlement.ran
    took = "" if ran is None else f" after {_span(ran.seconds)}"
    match outcome:
        case Completed():
            return "completed" if ran is None else f"completed in {_span(ran.seconds)}"
        case RetryAt():
            delay = _span(outcome.delay_ms / 1000)
            return f"was postponed for {delay}{took}{_behind(_reason(ran))}"
        case Cancelled():
            reason = "" if outcome.reason == _PLAINLY else outcome.reason
            return f"was cancelled{took}{_behind(reason)}"
        case Released():
            return f"was returned to the queue{took}{_behind(outcome.reason)}"
    raise AssertionError(outcome)


def retried(settlement: Settlement, outcome: RetryAt) -> str:
    """Return the sentence about a failed run that will be repeated."""
    error = _error_of(settlement)
    why = "no error was recorded" if error is None else _one_line(line_of(error))
    return f"failed, retrying in {_span(outcome.delay_ms / 1000)}: {why}"


def dead(settlement: Settlement, buried: Buried) -> str:
    """Return the sentence about a job that became a dead letter."""
    return f"failed permanently: {_why(settlement, buried, settlement.ran)}"


def fault_of(settlement: Settlement) -> BaseException | None:
    """Return the error of a failed run; for a signal that was raised on purpose, only its cause."""
    error = _error_of(settlement)
    signal = None if error is None else signal_of(error)
    return error if signal is None else signal.__cause__


def is_huge(error: BaseException) -> bool:
    """Return whether the texts of an error, its causes and members exceed 16 KiB."""
    left, waiting, seen = ERROR_LIMIT, [error], set[int]()
    while waiting and left > 0:
        it = waiting.pop()
        seen.add(id(it))
        left -= _FRAME + len(message_of(it)) + len(_notes(it))
        more = it.exceptions if isinstance(it, BaseExceptionGroup) else ()
        linked = (it.__cause__, it.__context__, *more)
        waiting += [other for other in linked if other is not None and id(other) not in seen]
    return left <= 0


def facts_of(settlement: Settlement) -> dict[str, Any]:
    """Return the fields of a line."""
    delivery, ran = settlement.delivery, settlement.ran
    envelope, lane = delivery.envelope, delivery.stream.lane
    facts: dict[str, Any] = {"job": envelope.id, "queue": lane.queue, "event": envelope.event}
    facts["outcome"] = _outcome(settlement)
    if ran is not None:
        facts["attempt"] = ran.attempt
        facts["took"] = round(ran.seconds, 4)
        facts["waited"] = round(_waited(delivery), 4)
    return facts


def last_line(text: str) -> str:
    """Return the last line with meaning; the traceback of a group ends in a frame."""
    said = (it for it in reversed(text.splitlines()) if any(map(str.isalnum, it)))
    return next(said, "no error was recorded").strip(" |")


def _why(settlement: Settlement, buried: Buried, ran: Ran | None) -> str:
    if buried.reason == "bad_payload" and not buried.error.startswith("Traceback"):
        queue, event = settlement.delivery.stream.lane.queue, settlement.delivery.envelope.event
        faults = "; ".join(buried.error.splitlines()[:_FAULTS_SHOWN])
        said = f"the data of {event!r} does not fit its handler in queue {queue!r}: {faults}"
        return _one_line(said)
    last = _one_line(last_line(buried.error))
    if ran is None or ran.error is None or buried.reason != "failed":
        return last
    signal = signal_of(ran.error)
    if isinstance(signal, Retry):
        runs = f"attempt {ran.attempt} of {ran.max_retries + 1}"
        asked = f"it asked for a retry but has none left ({runs})"
        return asked + _behind(message_of(signal))
    # If a retry policy raised as well, the dead letter has more than the error.
    line = _one_line(line_of(ran.error))
    return line if buried.error == describe(ran.error) else f"{line}; {last}"


def _notes(error: BaseException) -> str:
    return shown(getattr(error, "__notes__", ""), ERROR_LIMIT)


def _error_of(settlement: Settlement) -> BaseException | None:
    return None if settlement.ran is None else settlement.ran.error


def _outcome(settlement: Settlement) -> str:
    match settlement.outcome:
        case Buried():
            return "dead"
        case RetryAt(uses_attempt=True):
            return "retrying"
        case outcome:
            return _OUTCOMES[type(outcome)]


def _waited(delivery: Delivery) -> float:
    """Return how long (s) the job was in its lane; never less than 0."""
    return max(0, delivery.started_ms - added_ms(delivery.entry)) / 1000


def _reason(ran: Ran | None) -> str:
    signal = None if ran is None or ran.error is None else signal_of(ran.error)
    return "" if signal is None else message_of(signal)


def _behind(reason: str) -> str:
    line = _one_line(reason)
    return f": {line}" if line else ""


def _one_line(text: str) -> str:
    """Return text that no formatter can split into two lines and no terminal acts on."""
    line = escaped(" ".join(shortened(text, _TEXT_LIMIT).split()))
    # An error without a text is shown as its class.
    return line.replace(": ;", ";").removesuffix(":")


def _span(seconds: float) -> str:
    """Return a duration with the precision that people read: 12 ms, 1.5 s, 2.25 h."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < _HOUR:
        return duration(round(seconds, 1))
    return duration(round(seconds / _HOUR, 2) * _HOUR)
