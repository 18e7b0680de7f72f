"""Find the job that kills its worker, without blaming those beside it (G5).

A delivery that ends without an outcome is a crash, of whatever job it was that
caused it. From its second crash on a job runs solo: nothing else is started in
the process meanwhile, and that is recorded before it starts. So a process that
dies then died of this job. It is buried when it had max_deliveries crashes, at
least two of them in solo runs.

Nobody is kept out for longer than a solo run may take: two leases, and twice as
long after each further crash, so that what kills its worker late is found as
well. Then the record is taken back and others start. While the job waits for
another one it is two leases each time: the other one may need this very worker.
For those that run already it waits half as long; then it starts beside them, which
proves nothing.
"""

from __future__ import annotations

import contextlib
import time

from consumers.connections.wire import Wire
from consumers.errors import LeaseLost
from consumers.jobs.outcome import Buried
from consumers.store.delivery import SOLO_AFTER_CRASHES, Delivery
from consumers.store.leasing import solo
from consumers.store.scripts import call

SOLO_CRASHES = 2
# A solo run keeps others out for so many leases after the crash that made it one.
_EXCLUSIVE_LEASES = 2
# Doubled so often it is more than a year.
_MOST_DOUBLINGS = 20
# Answers of mark_solo.lua that are no number of runs.
_NOT_OURS, _UNRECORDABLE = -1, -2


def exclusive(crashes: int, lease: float, *, waits: bool) -> float:
    """Return for how long (s) a solo run keeps others out; waits: it waits for another job."""
    doublings = 0 if waits else min(crashes - SOLO_AFTER_CRASHES, _MOST_DOUBLINGS)
    return lease * _EXCLUSIVE_LEASES * 2.0**doublings


def patience(crashes: int, lease: float, *, waits: bool) -> float:
    """Return for how long (s) a suspect waits for those that run before it is to run solo.

    waits: one of them waits for another job, which may be the suspect.
    """
    return exclusive(crashes, lease, waits=waits) / 2


class SoloGate:
    """Holds a suspect back until it can run alone, and everything else while it does."""

    def __init__(self, wire: Wire, *, consumer: str, max_deliveries: int) -> None:
        self._wire = wire
        self._consumer = consumer
        self._max_deliveries = max_deliveries
        self.suspect: Delivery | None = None
        # Whether the suspect's solo run has begun.
        self.begun = False
        self._since = 0.0
        # How many solo runs of the suspect were recorded before this one, once that is known.
        self._earlier: int | None = None

    def is_suspect(self, delivery: Delivery) -> bool:
        """Whether a delivery has to run solo."""
        return delivery.crashes >= SOLO_AFTER_CRASHES

    def hold(self, suspect: Delivery) -> None:
        """Start nothing until this one has run."""
        self.suspect, self._since, self._earlier = suspect, time.monotonic(), None
        self.begun = False

    def has_waited(self, seconds: float) -> bool:
        """Whether that was long ago: that the suspect began to run, else to wait for it."""
        return time.monotonic() - self._since > seconds

    def begin(self) -> None:
        """The suspect begins to run, and keeps others out for a while."""
        self.begun, self._since = True, time.monotonic()

    def over(self) -> None:
        """Let others start again."""
        self.suspect = None

    async def verdict(self, delivery: Delivery) -> Buried | None:
        """Record a solo run that starts now; return how to bury the job when it must not run.

        Meanwhile it may be handed back: when it is not the suspect any more, nothing starts.
        Raises LeaseLost when the delivery is not ours any more. After any other error it may
        be asked again: a solo run whose recording was not answered is not counted twice.
        """
        if self._earlier is None:
            self._earlier = await self._ask(delivery)
        exhausted = delivery.crashes >= self._max_deliveries
        if exhausted and (self._earlier >= SOLO_CRASHES or self._earlier == _UNRECORDABLE):
            return _crash_loop(delivery, max(SOLO_CRASHES, self._earlier))
        if self._earlier != _UNRECORDABLE and self.suspect is delivery:
            # First, so that a release that overtakes the answer takes the record back.
            delivery.solo = True
            await self._ask(delivery, self._earlier + 1)
        return None

    async def let_others_in(self, delivery: Delivery) -> None:
        """Take back that the suspect runs solo, and let others start beside it."""
        # First, so that a release on its way does not take it back as well.
        delivery.solo = False
        if self._earlier is not None and self._earlier != _UNRECORDABLE:
            with contextlib.suppress(LeaseLost):
                await self._ask(delivery, self._earlier)
        self.over()

    async def _ask(self, delivery: Delivery, runs: int | None = None) -> int:
        mark = solo(delivery, self._consumer, runs)
        earlier: int = await call(self._wire, mark)
        if earlier == _NOT_OURS:
            raise LeaseLost(delivery.envelope.id)
        return earlier


def _crash_loop(delivery: Delivery, solo_crashes: int) -> Buried:
    return Buried(
        "crash_loop",
        f"its worker died {delivery.crashes} times while it held this job, "
        f"{solo_crashes} times while no other job ran beside it",
    )
