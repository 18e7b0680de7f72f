"""Process one job by itself, as a worker does between its fetch and its settle. No Redis."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from contextvars import copy_context
from typing import Any

from consumers.connections.clock import ServerClock
from consumers.errors import InvalidInput
from consumers.jobs.envelope import ENVELOPE_VERSION, Envelope, NewJob
from consumers.jobs.job import Job
from consumers.jobs.lanes import Lane
from consumers.jobs.outcome import Outcome, Ran
from consumers.lease.leases import Leases
from consumers.policy import Handler, Policy
from consumers.run.executor import END_PATIENCE, Executor
from consumers.run.pauses import Pauses
from consumers.run.run import Run
from consumers.store.delivery import Delivery, Stream
from consumers.store.keys import Keys


async def process_job(job: Job[Any], policy: Policy) -> Outcome:
    """Run the handler of a job as a worker does, and return the outcome that would be recorded.

    The handler is called on the event loop or in a thread, through its middleware, for at most the
    job's timeout. Work that it started and did not await is awaited. Nothing is fetched or
    recorded, and no Redis is needed: it is for tests of handlers and policies, with a job from
    `Job.fake(data, event=..., queue=...)`. Jobs that the handler emitted with `on_success=True` are
    in `job.on_success`.

    Raises InvalidInput if the policy has no handler for the job's event in its queue.
    """
    handler = policy.handler(job.queue, job.event)
    if handler is None:
        events = ", ".join(sorted(policy.events(job.queue))) or "none"
        raise InvalidInput(
            f"event {job.event!r} of queue {job.queue!r} has no handler: register one, or use "
            f"an event of that queue that has one ({events})"
        )
    early = policy.prepare(job, ServerClock().now_ms)
    return await _run(job, handler, policy) if early is None else early


class _Kept:
    """Stands where the settler does, and keeps the outcome."""

    outcome: Outcome

    def settle(
        self,
        delivery: Delivery,
        outcome: Outcome,
        children: Sequence[NewJob] = (),
        ran: Ran | None = None,
    ) -> None:
        self.outcome = outcome

    async def flushed(self) -> None:
        """All is recorded that ever will be."""


async def _run(job: Job[Any], handler: Handler, policy: Policy) -> Outcome:
    kept = _Kept()
    executor = _executor_for(job, policy, kept)
    run = Run(job, _delivery_of(job), handler, asyncio.get_running_loop(), ServerClock())
    try:
        executor.start(run, copy_context())
        await executor.drained()
        return kept.outcome
    finally:
        # Where the caller is cancelled, the run is as well.
        await executor.release_all(patience=END_PATIENCE)
        executor.close()


def _executor_for(job: Job[Any], policy: Policy, kept: _Kept) -> Executor:
    leases, pauses = Leases(), Pauses()
    leases.seconds[job.queue] = math.inf
    pauses.looked(math.inf)
    return Executor(
        policy, kept, leases, pauses, lambda stream: True, slots=1, max_leaked=1,
        on_free=lambda: None, on_broken=lambda why: None,
    )  # fmt: skip


def _delivery_of(job: Job[Any]) -> Delivery:
    """Return a delivery that is the job's for ever."""
    lane = Lane(job.queue, job.type, job.partition, job.priority)
    envelope = Envelope(
        id=job.id, event=job.event, data=b"null", options=b"", version=ENVELOPE_VERSION,
        generation=job.generation, created_at=0, failures=job.attempt - 1,
        deliveries=job.delivery - 1, crashes=0,
    )  # fmt: skip
    return Delivery(
        Stream(Keys(job.queue), lane, job.type, front=False), "0-0", 1, envelope, math.inf
    )
