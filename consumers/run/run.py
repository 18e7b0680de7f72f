"""Which run the current code belongs to. Handlers never touch this; emit and logger do."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Coroutine, Iterator, Sequence
from contextvars import ContextVar
from typing import Any, TypeVar

from consumers.connections.clock import ServerClock
from consumers.jobs.job import Job
from consumers.jobs.outcome import Ended, Raised, Ran
from consumers.policy import Handler
from consumers.store.delivery import Delivery

logger = logging.getLogger("taskmanager.worker")

T = TypeVar("T")

_PRUNE_AT = 64
# By how much (ms) a worker may be wrong about the time of Redis; more is a head that is spoiled.
_CLOCKS_APART_MS = 1000
_NONE = slice(0, 0)


class Run:
    """One run of a handler: what is run, what befell it, and what it started and has not awaited.

    task is there as long as the run takes a slot.
    """

    __slots__ = (
        "_began", "_clock", "_failed_children", "_prune_at", "awaited", "delivery",
        "ended", "handler", "job", "loop", "pending", "refused", "task", "timed_out",
    )  # fmt: skip

    task: asyncio.Task[None]

    def __init__(
        self,
        job: Job[Any],
        delivery: Delivery,
        handler: Handler,
        loop: asyncio.AbstractEventLoop,
        clock: ServerClock,
    ) -> None:
        self.job = job
        self.delivery = delivery
        self.handler = handler
        self.loop = loop
        self._clock = clock
        self.timed_out = False
        # Set when it was to be called and might not: paused, cancelled or lost meanwhile.
        self.refused = False
        # Queue and id of each job whose result it waits for now.
        self.awaited: Sequence[tuple[str, str]] = ()
        # What was started and may still fail; see track.
        self.pending: Sequence[Awaitable[Any]] = ()
        # True once the outcome is decided: tasks that the handler left behind
        # still find this run, and are no part of it any more.
        self.ended = False
        # When its handler was called first.
        self._began = 0.0
        self._prune_at = _PRUNE_AT
        self._failed_children = _NONE

    @property
    def owner(self) -> object:
        """Whose handler it is; see Handler."""
        return self.handler.owner

    def begin(self) -> None:
        """Take note that the handler is called; middleware may do that more than once."""
        if not self._began:
            self._began = began = time.monotonic()
            # As clock.at() does: this is done for every job.
            started = int(self._clock.ahead_ms + began * 1000)
            created = self.delivery.envelope.created_at
            # None begins before it is there.
            is_early = started < created < started + _CLOCKS_APART_MS
            self.delivery.started_ms = created if is_early else started

    def ran(self, ended: Ended | None) -> Ran | None:
        """Return how it went until now; None when its handler was not called."""
        began, job = self._began, self.job
        if not began:
            return None
        error = ended.error if isinstance(ended, Raised) else None
        # Made for every job: by its class it takes more than twice as long.
        facts = (began, time.monotonic() - began, job.attempt, job.max_retries, error)
        return tuple.__new__(Ran, facts)

    def note_lost(self) -> None:
        """Decide nothing any more: the lease may have run out while it ran."""
        self.delivery.given_up = True
        logger.warning(
            "job %s ended after its lease; its outcome is not recorded", self.delivery.envelope.id
        )

    def track(self, started: Awaitable[Any]) -> None:
        """Have the executor await this before it settles the job.

        What has gone well meanwhile is dropped now and then: a handler may write
        a million log lines.
        """
        # Most runs start nothing, and have no list for it.
        pending = self.pending if isinstance(self.pending, list) else []
        if len(pending) >= self._prune_at:
            pending = [it for it in pending if not _went_well(it)]
            self._prune_at = max(_PRUNE_AT, 2 * len(pending))
        pending.append(started)
        self.pending = pending

    def call_failed(self, children_before: int) -> None:
        """Note which children a call of the handler left that failed."""
        self._failed_children = slice(children_before, len(self.job.on_success))

    def call_again(self) -> int:
        """Forget the children of a call that failed; return how many there are before this one.

        Where middleware makes do with a failure they stay: the job is completed after all.
        """
        children = self.job.on_success
        del children[self._failed_children]
        self._failed_children = _NONE
        return len(children)

    def block_on(self, work: Coroutine[Any, Any, T]) -> T:
        """Run work on the worker's loop and wait for it; for handlers that run in a thread."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result()


def _went_well(started: Awaitable[Any]) -> bool:
    future = getattr(started, "future", started)
    return (
        isinstance(future, asyncio.Future)
        and future.done()
        and not future.cancelled()
        and future.exception() is None
    )


current_run: ContextVar[Run | None] = ContextVar("current_run", default=None)


@contextlib.contextmanager
def awaiting(queue: str, job_id: str) -> Iterator[None]:
    """Have the run that is current, if any, wait for the result of a job within."""
    run = current_run.get()
    if run is None:
        yield
        return
    run.awaited = [*run.awaited, (queue, job_id)]
    try:
        yield
    finally:
        at = run.awaited.index((queue, job_id))
        run.awaited = [*run.awaited[:at], *run.awaited[at + 1 :]]
