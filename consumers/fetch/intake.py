"""Take in what a read brought: hold what is to run, end what is not, and find what is cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from consumers.fetch.held import Held
from consumers.fetch.reader import Reader
from consumers.jobs.outcome import Cancelled, Released
from consumers.lease.leases import Leases
from consumers.run.executor import Executor
from consumers.settle.settler import Settler
from consumers.store.delivery import Delivery
from consumers.store.unfit import foreign


class Intake:
    """What becomes of deliveries before they are held."""

    def __init__(
        self, held: Held, *, reader: Reader, leases: Leases, executor: Executor, settler: Settler
    ) -> None:
        self.held = held
        self.reader = reader
        self.leases = leases
        self.executor = executor
        self.settler = settler
        # Entries that were cancelled a moment ago: their delivery may still be on its way.
        self._just_cancelled: set[tuple[str, str]] = set()

    async def in_time(self, deliveries: list[Delivery]) -> list[Delivery]:
        """Return those that are ours: what lay in the socket meanwhile was not renewed (G8)."""
        if self.leases.came_late(deliveries):
            return await self.reader.renew(deliveries)
        return deliveries

    def take(self, deliveries: Sequence[Delivery], *, reclaimed: bool = False) -> None:
        """Take in deliveries; reclaimed: taken over from a worker that died."""
        ours, just_cancelled = self.leases.all, self._just_cancelled
        for delivery in deliveries:
            if delivery.envelope.version == 0:
                self.leases.all[delivery.key] = delivery
                self.settler.settle(delivery, foreign(delivery))
            elif delivery.cancelled:
                self._pass_over(delivery)
            elif delivery.key not in ours:
                self.held.push(delivery, reclaimed=reclaimed)
                if just_cancelled and delivery.key in just_cancelled:
                    self._look_for_mark(delivery)

    def return_surplus(self, wanted: int) -> None:
        """Hand back what came beside the jobs that were wanted, where nothing is to be held."""
        surplus = len(self.held) - wanted
        for delivery in list(self.leases.held)[-surplus:] if surplus > 0 else ():
            if self.leases.start(delivery):
                self.settler.settle(delivery, Released("held"))

    def cancel(self, key: tuple[str, str]) -> None:
        """A hint: the entry with this key was cancelled, and somebody has it, perhaps we."""
        delivery = self.leases.all.get(key)
        if delivery is not None:
            self._look_for_mark(delivery)
        else:
            self._just_cancelled.add(key)

    def known_cancelled(self) -> set[tuple[str, str]]:
        """Return the hints of cancelled entries so far, to be forgotten after the next look."""
        return set(self._just_cancelled)

    def forget_cancelled(self, known: set[tuple[str, str]]) -> None:
        """Forget hints: the truth was looked at since."""
        self._just_cancelled -= known

    def _look_for_mark(self, delivery: Delivery) -> None:
        """End a job if it is marked as cancelled: a hint alone ends nothing, anyone may send one.

        Should the answer be lost, the next look at the queue finds the mark.
        """
        stream = delivery.stream
        mark = f"{stream.name} {delivery.entry}"
        marked = self.settler.wire.send("SISMEMBER", stream.keys.cancelling, mark)
        marked.add_done_callback(lambda answer: self._cancel_marked(delivery, answer))

    def _cancel_marked(self, delivery: Delivery, answer: asyncio.Future[Any]) -> None:
        if not answer.cancelled() and answer.exception() is None and answer.result():
            self.executor.cancel(delivery)

    def _pass_over(self, delivery: Delivery) -> None:
        """Record the end of a job that was cancelled before it could start here."""
        ours = self.leases.all.get(delivery.key)
        if ours is not None and ours.count == delivery.count and not ours.given_up:
            # Its group was lost while it ran: the token is the same again, and the run is
            # told to end.
            self.executor.cancel(ours)
            return
        delivery.cancelled = True
        self.leases.all[delivery.key] = delivery
        self.settler.settle(delivery, Cancelled("cancelled"))
