"""The one stage between a fetched delivery and its run: it begins, goes back, or ends here."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any

from pydantic_core import from_json

from consumers.connections.clock import ServerClock
from consumers.errors import InvalidName, LeaseLost
from consumers.fetch.solo import SoloGate, exclusive, patience
from consumers.jobs.envelope import ENVELOPE_VERSION
from consumers.jobs.job import Job, Notes
from consumers.jobs.names import check_name
from consumers.jobs.outcome import Buried, Cancelled, Outcome, Released
from consumers.policy import Misfit
from consumers.run.executor import Executor
from consumers.run.run import Run
from consumers.run.verdict import broken, put_back
from consumers.store.delivery import Delivery
from consumers.store.unfit import foreign, unfit, unreadable
from consumers.surroundings import Surroundings

logger = logging.getLogger("taskmanager.worker")

_CANCELLED = Cancelled("cancelled")


class Admission:
    """Starts deliveries that are no longer held.

    What it looks at, in this order: whether the job must run solo; is cancelled; paused; requires
    what this worker has no more; is unknown here; has a payload that its handler does not take;
    whatever its policy says before a run, that it has expired for one.

    epochs has the epoch of each queue.
    """

    def __init__(
        self,
        executor: Executor,
        gate: SoloGate,
        *,
        notes: Notes,
        epochs: Mapping[str, int],
        clock: ServerClock,
    ) -> None:
        self.executor = executor
        self.gate = gate
        self._may_run = executor.caller.may_run
        self._settler = executor.settler
        self._pauses = executor.pauses
        self._leases = executor.leases
        self._notes = notes
        self._epochs = epochs
        self._clock = clock
        self._policy = executor.policy
        self._loop = asyncio.get_running_loop()
        self._surroundings = Surroundings()

    def admit(self, delivery: Delivery) -> None:
        """Start a delivery, or hold everything back until it has run solo."""
        # Most were never handed out before.
        if (delivery.count > 1 or delivery.envelope.crashes) and self.gate.is_suspect(delivery):
            self.gate.hold(delivery)
        else:
            self.start(delivery)

    def start(self, delivery: Delivery) -> None:
        """Run a delivery, or settle it when it cannot run here."""
        # Mostly called where another run ends, whose context variables are its own.
        context = self._surroundings.fresh()
        try:
            admitted = context.run(self._examine, delivery)
            if isinstance(admitted, Run):
                self.executor.start(admitted, context)
            else:
                self._settler.settle(delivery, admitted)
        except BaseException as error:
            # It is in nobody else's hands: whatever comes up, it is settled.
            logger.exception("could not prepare job %s", delivery.envelope.id)
            self._settler.settle(delivery, broken(error))

    def _examine(self, delivery: Delivery) -> Run | Outcome:
        """Return the run of a delivery, or what becomes of one that cannot run here."""
        envelope, queue = delivery.envelope, delivery.stream.lane.queue
        event, policy = envelope.event, self._policy
        if delivery.cancelled:
            return _CANCELLED
        if not self._pauses.permit(queue, event):
            return put_back(self._pauses.of(queue), event)
        if delivery.stream.is_routed and not self._may_run(delivery.stream):
            return Released("held")
        handler = policy.handler(queue, event)
        if handler is None or envelope.version > ENVELOPE_VERSION:
            return _passed_on(delivery)
        if handler.keeps_data:
            delivery.keeps_data = True
        try:
            job = self._job(delivery, handler.decode)
        except BaseException as error:
            return self._refused(delivery, error)
        outcome = policy.prepare(job, self._clock.now_ms)
        if outcome is not None:
            return outcome
        return Run(job, delivery, handler, self._loop, self._clock)

    def _refused(self, delivery: Delivery, error: BaseException) -> Outcome:
        """Return what becomes of a job that its handler does not take, or nobody can read."""
        if (why := unreadable(delivery.envelope)) is not None:
            return foreign(delivery, why)
        if not isinstance(error, Misfit):
            return Buried("bad_payload", unfit(error))
        # It may wait for long, and expire meanwhile.
        job = self._job(delivery, from_json)
        expired = self._policy.prepare(job, self._clock.now_ms)
        return expired or error.outcome(job)

    def _job(self, delivery: Delivery, decode: Callable[[bytes], Any]) -> Job[Any]:
        stream = delivery.stream
        lane = stream.lane
        # By position, as this is done for every job.
        return Job(
            delivery.envelope, lane, stream.group, delivery.count,
            self._epochs.get(lane.queue, 0), self._notes, delivery, decode,
        )  # fmt: skip

    # Solo runs

    async def mind(self, suspect: Delivery) -> bool:
        """Run a job that crashed before by itself, once the others have ended.

        Returns False when there is nothing to do but wait for a slot.
        """
        if self.gate.begun:
            return await self._let_run(suspect)
        if suspect.given_up:
            # It was lost while it waited: those beside it need not end first.
            self.gate.over()
        elif self.executor.running:
            return self._wait_for_others(suspect)
        else:
            await self._begin_solo(suspect)
        return True

    def _wait_for_others(self, suspect: Delivery) -> bool:
        lease, waits = self._lease_of(suspect), self.executor.any_waits
        if not self.gate.has_waited(patience(suspect.crashes, lease, waits=waits)):
            return False
        # Beside others it proves nothing: it runs, and is not marked.
        self.gate.over()
        self.start(suspect)
        return True

    async def _begin_solo(self, suspect: Delivery) -> None:
        try:
            buried = await self.gate.verdict(suspect)
        except LeaseLost:
            self.gate.over()
            self.executor.lose(suspect)
            return
        if self.gate.suspect is not suspect:
            # A stop has handed it back meanwhile.
            return
        if buried is not None:
            self.gate.over()
            self._settler.settle(suspect, buried)
        else:
            self.gate.begin()
            self.start(suspect)

    async def _let_run(self, suspect: Delivery) -> bool:
        """Keep others out until the suspect has ended, or has shown for long that it lets live."""
        lease, waits = self._lease_of(suspect), self.executor.waits(suspect)
        if not self.executor.running:
            self.gate.over()
        elif self.gate.has_waited(exclusive(suspect.crashes, lease, waits=waits)):
            logger.info(
                "job %s has run alone for a long time; other jobs may start", suspect.envelope.id
            )
            await self.gate.let_others_in(suspect)
        else:
            return False
        return True

    def _lease_of(self, delivery: Delivery) -> float:
        return self._leases.seconds[delivery.stream.lane.queue]


def _passed_on(delivery: Delivery) -> Outcome:
    # G14: somebody newer, or with the handler, will run it.
    event = delivery.envelope.event
    try:
        check_name("event", event)
    except InvalidName as error:
        return foreign(delivery, str(error))
    return Released("no_handler", event)
