"""Log what became of each job, on the logger `taskmanager.jobs`."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence

from consumers.jobs.outcome import Buried, Cancelled, Completed, Released, RetryAt
from consumers.jobs.texts import describe
from consumers.store.settling import Settled, Settlement
from taskmanager.escapes import escaped
from taskmanager.worker import job_sentences as sentences
from taskmanager.worker.line_limit import OF_THE_PROCESS, LineLimit

logger = logging.getLogger("taskmanager.jobs")
_worker_logger = logging.getLogger("taskmanager.worker")


class JobLog:
    """Logs each run that ended at INFO, each retry as a warning, each dead job as an error.

    Retries and dead jobs include the traceback, as exc_info. INFO lines are limited for the whole
    process; one more line counts the others. A job whose outcome was rejected belongs to another
    worker, and is not logged here. `on_handed_on` is called with queue and event of a job that has
    no handler here. Errors in filters and handlers of the log never leave these methods: the
    worker's log names the line that failed.
    """

    def __init__(
        self, on_handed_on: Callable[[str, str], None], limit: LineLimit = OF_THE_PROCESS
    ) -> None:
        self._on_handed_on = on_handed_on
        self._limit = limit
        self._saying: asyncio.TimerHandle | None = None

    def settled_many(self, settled: Sequence[Settled]) -> None:
        """Log what became of the jobs of a batch."""
        limit, says_info, hidden = self._limit, logger.isEnabledFor(logging.INFO), 0
        if says_info and (now := time.monotonic()) >= limit.until:
            _say_hidden(limit.begin(now))
        for it in settled:
            # By name: a named tuple is no tuple to the interpreter's fast unpacking.
            settlement = it.settlement
            if not it.recorded:
                continue
            if isinstance(settlement.outcome, Completed):
                # Nearly all of 70,000 jobs per second take this path.
                if limit.room > 0 and says_info:
                    self._say(settlement, self._say_ended)
                else:
                    hidden += 1
            else:
                self._say(settlement, self._say_other)
        if hidden and says_info:
            self._hide("completed", hidden)

    def finish(self) -> None:
        """Log the counts that were not logged yet."""
        if self._saying is not None:
            self._saying.cancel()
            self._saying = None
        _say_hidden(self._limit.hidden())

    def _say(self, settlement: Settlement, say: Callable[[Settlement], None]) -> None:
        try:
            say(settlement)
        except BaseException as error:
            # The other jobs of the batch still get their lines.
            _say_lost(f"the log line of job {settlement.delivery.envelope.id}", error)

    def _say_other(self, settlement: Settlement) -> None:
        outcome = settlement.outcome
        if isinstance(outcome, Buried):
            _write_dead(settlement, outcome)
        elif isinstance(outcome, RetryAt) and outcome.uses_attempt:
            _write_retry(settlement, outcome)
        elif isinstance(outcome, Released) and outcome.reason == "no_handler":
            envelope, lane = settlement.delivery.envelope, settlement.delivery.stream.lane
            self._on_handed_on(lane.queue, envelope.event)
        elif settlement.ran is not None or isinstance(outcome, Cancelled):
            # Other jobs that did not run were returned to the queue; they have not ended.
            self._say_ended(settlement)

    def _say_ended(self, settlement: Settlement) -> None:
        if not logger.isEnabledFor(logging.INFO):
            return
        if self._limit.take():
            _write(logging.INFO, settlement, sentences.ended(settlement))
        else:
            self._hide(sentences.word_of(settlement.outcome), 1)

    def _hide(self, word: str, number: int) -> None:
        self._limit.hide(word, number)
        if self._saying is None:
            self._say_hidden_later()

    def _say_hidden_later(self) -> None:
        left = max(0.0, self._limit.until - time.monotonic())
        self._saying = asyncio.get_running_loop().call_later(left, self._say_hidden_if_over)

    def _say_hidden_if_over(self) -> None:
        # Another worker of the process may have begun the next second and logged this one.
        if self._limit.until > time.monotonic():
            self._say_hidden_later()
        else:
            self.finish()


def _say_hidden(hidden: Counter[str]) -> None:
    if not hidden:
        return
    words = ", ".join(f"{number:,} {word}" for word, number in hidden.most_common())
    jobs = "job" if hidden.total() == 1 else "jobs"
    try:
        logger.info("%s more %s not shown: %s", f"{hidden.total():,}", jobs, words)
    except BaseException as error:
        _say_lost(f"the number of jobs not shown ({words})", error)


def _say_lost(what: str, error: BaseException) -> None:
    # The filter or handler that failed may be asked to write this line as well.
    with contextlib.suppress(BaseException):
        _worker_logger.error(
            "could not write %s to the log taskmanager.jobs: a filter, a handler or the record "
            "factory of this process raised %s",
            what, type(error).__name__, exc_info=error,
        )  # fmt: skip


def _write_retry(settlement: Settlement, outcome: RetryAt) -> None:
    what = sentences.retried(settlement, outcome)
    _write(logging.WARNING, settlement, what, sentences.fault_of(settlement))


def _write_dead(settlement: Settlement, buried: Buried) -> None:
    what = sentences.dead(settlement, buried)
    error = None if settlement.ran is None else settlement.ran.error
    _write(logging.ERROR, settlement, what, error, reason=buried.reason)


def _write(
    level: int,
    settlement: Settlement,
    what: str,
    error: BaseException | None = None,
    **more: str,
) -> None:
    if not logger.isEnabledFor(level):
        return
    path, line, function, _ = logger.findCaller()
    info = None if error is None else (type(error), error, error.__traceback__)
    args = (escaped(settlement.delivery.envelope.event), what)
    record = logger.makeRecord(logger.name, level, path, line, "%s %s", args, info, function)
    # Not as extra=, which refuses names that the application's record factory sets.
    vars(record).update(sentences.facts_of(settlement), **more)
    if error is not None and sentences.is_huge(error):
        # The standard library's formatters write this instead of formatting exc_info.
        record.exc_text = describe(error)
    logger.handle(record)
