"""Say in the log what became of each job: the logger ``taskmanager.jobs``."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from consumers.jobs.outcome import Buried, Cancelled, Completed, Ran, Released, RetryAt
from consumers.jobs.texts import describe, message_of, shortened
from consumers.store.delivery import Delivery
from consumers.store.entries import added_ms
from consumers.store.settling import Settled, Settlement
from processors.retries.groups import signal_of
from processors.retries.history import line_of

logger = logging.getLogger("taskmanager.jobs")

# Lines per second at INFO; what is beyond is counted and said once.
MOST_LINES = 50
_WINDOW = 1.0
# Of an error in a line; all of it is in the traceback and in the dead letter.
_TEXT_LIMIT = 500
_FAULTS_SHOWN = 5


class JobLog:
    """A line at INFO for each run that ended, a warning for each retry, an error for each death.

    Retries and deaths come with the traceback, as exc_info. Of the lines at INFO at most
    MOST_LINES are written in a second, then one that counts the others. A job whose outcome
    was not recorded is not ours any more: it says nothing here. on_handed_on is called with
    queue and event of a job for which no handler is here.
    """

    def __init__(self, on_handed_on: Callable[[str, str], None]) -> None:
        self._on_handed_on = on_handed_on
        self._until = 0.0
        self._room = 0
        self._hidden: Counter[str] = Counter()
        self._saying: asyncio.TimerHandle | None = None

    def settled_many(self, settled: Sequence[Settled]) -> None:
        """Say what became of the jobs of a batch."""
        says_info, hidden = logger.isEnabledFor(logging.INFO), 0
        if says_info and (now := time.monotonic()) >= self._until:
            self._begin(now)
        for settlement, recorded in settled:
            if not recorded:
                continue
            if isinstance(settlement.outcome, Completed):
                # Of 70,000 jobs per second nearly all come this way.
                if self._room > 0 and says_info:
                    self._say_ended(settlement)
                else:
                    hidden += 1
            else:
                self._say_other(settlement, says_info)
        if hidden and says_info:
            self._hide("completed", hidden)

    def finish(self) -> None:
        """Say what was counted and not said yet."""
        if self._saying is not None:
            self._saying.cancel()
            self._saying = None
        if self._hidden:
            words = ", ".join(f"{number:,} {word}" for word, number in self._hidden.most_common())
            logger.info("%s jobs more: %s", f"{self._hidden.total():,}", words)
            self._hidden.clear()

    def _begin(self, now: float) -> None:
        self.finish()
        self._until, self._room = now + _WINDOW, MOST_LINES

    def _say_other(self, settlement: Settlement, says_info: bool) -> None:
        outcome = settlement.outcome
        if isinstance(outcome, Buried):
            _say_dead(settlement, outcome)
        elif isinstance(outcome, RetryAt) and outcome.uses_attempt:
            _say_retry(settlement, outcome)
        elif isinstance(outcome, Released) and outcome.reason == "no_handler":
            envelope, lane = settlement.delivery.envelope, settlement.delivery.stream.lane
            self._on_handed_on(lane.queue, envelope.event)
        elif not says_info or (settlement.ran is None and not isinstance(outcome, Cancelled)):
            # What did not run was handed back: that ends nothing.
            return
        elif self._room > 0:
            self._say_ended(settlement)
        else:
            self._hide(_WORDS[type(outcome)], 1)

    def _say_ended(self, settlement: Settlement) -> None:
        self._room -= 1
        what = _sentence(settlement)
        logger.info("%s %s", settlement.delivery.envelope.event, what, extra=_facts(settlement))

    def _hide(self, word: str, number: int) -> None:
        self._hidden[word] += number
        if self._saying is None:
            loop, left = asyncio.get_running_loop(), self._until - time.monotonic()
            self._saying = loop.call_later(max(0.0, left), self.finish)


_WORDS: dict[type, str] = {
    Completed: "completed",
    Cancelled: "cancelled",
    RetryAt: "put off",
    Released: "handed back",
}


def _sentence(settlement: Settlement) -> str:
    outcome, ran = settlement.outcome, settlement.ran
    took = "" if ran is None else f" after {_seconds(ran.seconds)}"
    match outcome:
        case Completed():
            return "completed" if ran is None else f"completed in {_seconds(ran.seconds)}"
        case RetryAt():
            delay = _seconds(outcome.delay_ms / 1000)
            return f"was put off for {delay}{took}{_reason(ran)}"
        case Cancelled():
            return f"ended as cancelled{took}: {shortened(outcome.reason, _TEXT_LIMIT)}"
        case Released():
            return f"was handed back{took}: {outcome.reason}"
    raise AssertionError(outcome)


def _reason(ran: Ran | None) -> str:
    signal = None if ran is None or ran.error is None else signal_of(ran.error)
    reason = "" if signal is None else shortened(message_of(signal), _TEXT_LIMIT)
    return f": {reason}" if reason else ""


def _say_retry(settlement: Settlement, outcome: RetryAt) -> None:
    error = _error_of(settlement)
    why = "no error is known" if error is None else _line(error)
    delay = _seconds(outcome.delay_ms / 1000)
    _say(logging.WARNING, settlement, f"failed and is run again in {delay}: {why}")


def _say_dead(settlement: Settlement, buried: Buried) -> None:
    why = _why(settlement, buried, _error_of(settlement))
    _say(logging.ERROR, settlement, f"is dead: {why}", reason=buried.reason)


def _say(level: int, settlement: Settlement, what: str, **more: str) -> None:
    facts, info = {**_facts(settlement), **more}, _info(_error_of(settlement))
    event = settlement.delivery.envelope.event
    logger.log(level, "%s %s", event, what, extra=facts, exc_info=info)


def _error_of(settlement: Settlement) -> BaseException | None:
    return None if settlement.ran is None else settlement.ran.error


def _why(settlement: Settlement, buried: Buried, error: BaseException | None) -> str:
    """Return why a job is dead, in a line."""
    if buried.reason == "bad_payload" and not buried.error.startswith("Traceback"):
        queue, event = settlement.delivery.stream.lane.queue, settlement.delivery.envelope.event
        faults = "; ".join(buried.error.splitlines()[:_FAULTS_SHOWN])
        said = f"the data of {event!r} is not what its handler in queue {queue!r} takes: {faults}"
        return shortened(said, _TEXT_LIMIT)
    last = shortened(_last_line(buried.error), _TEXT_LIMIT)
    if error is None or buried.reason != "failed":
        return last
    # The letter says more than the error where a retry policy raised as well.
    return _line(error) if buried.error == describe(error) else f"{_line(error)}; {last}"


def _last_line(text: str) -> str:
    """Return the last line that says something: the traceback of a group ends in a frame."""
    said = (it for it in reversed(text.splitlines()) if any(map(str.isalnum, it)))
    return next(said, "no error is kept").strip(" |")


def _facts(settlement: Settlement) -> dict[str, Any]:
    delivery, ran = settlement.delivery, settlement.ran
    envelope, lane = delivery.envelope, delivery.stream.lane
    facts: dict[str, Any] = {"job": envelope.id, "queue": lane.queue, "event": envelope.event}
    facts["outcome"] = _outcome(settlement)
    if ran is not None:
        facts["attempt"] = ran.attempt
        facts["took"] = round(ran.seconds, 4)
        facts["waited"] = round(_waited(delivery), 4)
    return facts


def _outcome(settlement: Settlement) -> str:
    match settlement.outcome:
        case Buried():
            return "dead"
        case RetryAt(uses_attempt=True):
            return "retrying"
        case outcome:
            return _WORDS[type(outcome)].replace(" ", "_")


def _waited(delivery: Delivery) -> float:
    """Return how long (s) the job was in its lane; never less than 0."""
    return max(0, delivery.started_ms - added_ms(delivery.entry)) / 1000


def _line(error: BaseException) -> str:
    return shortened(" ".join(line_of(error).split()), _TEXT_LIMIT)


def _info(error: BaseException | None) -> Any:
    """Return what to show below the line: of what was raised on purpose only its cause."""
    signal = None if error is None else signal_of(error)
    if signal is not None:
        error = signal.__cause__
    return None if error is None else (type(error), error, error.__traceback__)


def _seconds(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"
