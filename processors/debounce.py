"""Debounce: many emits become one run, and an identical id does not run twice in a while."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, get_args

from redis.exceptions import RedisError

from consumers.connections.link import Argument
from consumers.connections.wire import Wire
from consumers.errors import InvalidInput
from consumers.jobs.guards import Mode, debounced, digest_of
from consumers.jobs.job import Job
from consumers.jobs.outcome import Completed
from consumers.policy import CallNext
from consumers.store.keys import Keys
from consumers.store.scripts import load
from consumers.store.settling import Settled, Settlement
from processors.retries.signals import Discard

logger = logging.getLogger("taskmanager.worker")

# The longest wait of a storm that does not end, in windows.
DEFAULT_LONGEST = 10

_UNRUN = load("forget_run", "processors")
ALL = (_UNRUN,)


@dataclass(frozen=True, slots=True)
class DebounceManager:
    """How many emits become one run.

    - `window_ms`: the window in whole milliseconds, at least 1.
    - `longest_ms`: the longest wait for a burst that does not end. None: 10 windows.
    - `mode`: "trailing" runs the last emit of a burst, one window after it, at most `longest_ms`
      after the first. An emit during the run starts another burst, and so a second run. "leading"
      runs the first emit at once and drops the others until none came for a window, at most for
      `longest_ms`.

    Raises InvalidInput for other values.
    """

    window_ms: int
    longest_ms: int | None = None
    mode: Mode = "trailing"

    def __post_init__(self) -> None:
        for name in ("window_ms", "longest_ms"):
            given = getattr(self, name)
            if not (type(given) is int and given >= 1) and (
                given is not None or name == "window_ms"
            ):
                raise InvalidInput(
                    f"{name} {given!r} of a DebounceManager is not allowed: give whole "
                    "milliseconds, at least 1"
                )
        if self.mode not in get_args(Mode):
            raise InvalidInput(
                f"mode {self.mode!r} is not allowed: give {' or '.join(get_args(Mode))}"
            )

    def guard(self, event: str, partition: str, group: str) -> str:
        """Return the guard for a NewJob. Emits of one event, partition and group become one run."""
        longest = self.window_ms * DEFAULT_LONGEST if self.longest_ms is None else self.longest_ms
        return debounced(
            digest_of(event, partition, group),
            window_ms=self.window_ms,
            longest_ms=max(longest, self.window_ms),
            mode=self.mode,
        )


class RanBefore:
    """Skips a job whose id has completed a run within the last window_ms.

    A run that is repeated (after a crash, a failure) is no other run, and what became a dead
    letter or was cancelled has not completed one. What is skipped ends as cancelled.

    A run is marked before it is recorded: an emit may be fetched elsewhere as soon as that
    is done. So it is the telemetry of its consumer as well, to take marks back.
    """

    def __init__(self, wire: Wire, namespace: str, window_ms: int) -> None:
        self._wire = wire
        self._namespace = namespace
        self._window_ms = window_ms

    async def __call__(self, job: Job[Any], call_next: CallNext) -> Any:
        """Run what is next unless an identical id ran; raises Discard then."""
        key = self._key(job.queue, job.id)
        generation = str(job.generation)
        ran = await self._ask("GET", key)
        if ran is not None and ran.decode() != generation:
            raise Discard(f"debounced: the same id ran within the last {self._window_ms} ms")
        result = await call_next()
        # What returns after it was cancelled cannot end as completed.
        if not job.cancelled:
            await self._ask("SET", key, generation, "PX", self._window_ms)
        return result

    def settled_many(self, settled: Sequence[Settled]) -> None:
        """Take back that an id ran where this run of it was not recorded as completed."""
        for it in settled:
            self._look_at(*it)

    def _look_at(self, settlement: Settlement, recorded: bool) -> None:
        completed = isinstance(settlement.outcome, Completed)
        # A completed run that was refused was marked as well: whoever runs it again marks it
        # again. Of any other refused outcome the run elsewhere says more.
        if completed == recorded:
            return
        job = settlement.delivery.envelope
        key = self._key(settlement.delivery.stream.lane.queue, job.id)
        # As text, it is a short one: nobody waits here to send it when Redis has not got it.
        command = _UNRUN.by_source([key], [job.generation])
        self._wire.send(*command).add_done_callback(_ignore)

    def _key(self, queue: str, job_id: str) -> str:
        return Keys(queue, self._namespace).ran(job_id)

    async def _ask(self, *command: Argument) -> Any:
        # A run too many is better than a job that fails because this is away.
        try:
            return await self._wire.send(*command)
        except RedisError as error:
            logger.warning("could not check whether the same id ran before: %s", error)
            return None


def _ignore(done: asyncio.Future[object]) -> None:
    if not done.cancelled():
        done.exception()
