"""Record outcomes: what finished while one batch was under way leaves with the next."""

from __future__ import annotations

import asyncio
import logging
import math
from collections import deque
from collections.abc import Callable, Sequence

from consumers.connections.trouble import Trouble
from consumers.connections.wire import Wire
from consumers.cuts import cut
from consumers.errors import TaskManagerError
from consumers.jobs.bounds import DeadLetterBounds
from consumers.jobs.envelope import NewJob
from consumers.jobs.lanes import MAX_EVENT_LANES
from consumers.jobs.outcome import Buried, Cancelled, Outcome, Ran, Released
from consumers.jobs.routes import no_room_for
from consumers.jobs.texts import named, shown
from consumers.lease.leases import Leases
from consumers.settle.archive import Archive
from consumers.store.batching import Cost, put_back, take
from consumers.store.delivery import Delivery
from consumers.store.door import Door
from consumers.store.keys import Keys
from consumers.store.scripts import Call
from consumers.store.settling import Settled, Settlement, by_stream, bytes_of, settle_items
from consumers.store.steps import refused_key, words
from consumers.surroundings import Surroundings

logger = logging.getLogger("taskmanager.worker")

# A foreign value in one of our keys is for a person to remove.
_PAUSE_AFTER_BROKEN_KEY = 1.0
_UNSENDABLE_SHOWN = 1000
# The worker's next read waits behind a settle: one or two milliseconds of it, not three.
_MOST_TOGETHER = 256


class Settler:
    """Settles deliveries of all queues of a consumer, each queue in batches of its own.

    A settle is repeated until Redis has answered it or the lease is lost:
    results before acks cannot be lost. on_settled is called with what
    Redis has answered, a batch at a time.
    """

    def __init__(
        self,
        wire: Wire,
        leases: Leases,
        *,
        where: str,
        consumer: str,
        result_ttl: float,
        on_settled: Callable[[Sequence[Settled]], None],
        bounds: DeadLetterBounds,
        archive: Archive | None = None,
    ) -> None:
        self.wire = wire
        self.leases = leases
        self.where = where
        self.consumer = consumer
        self.result_ttl_ms = 0 if archive is not None else round(result_ttl * 1000)
        self.on_settled = on_settled
        self.bounds = bounds
        # Where results are kept when that is not where the queue is.
        self.archive = archive
        # Telemetry and on_dead are called in here, not in the context of the run that ended last.
        self.surroundings = Surroundings()
        # By the prefix of their keys.
        self._queues: dict[str, _QueueSettler] = {}

    @property
    def backlog(self) -> int:
        """How many outcomes are not recorded yet."""
        return sum(queue.backlog for queue in self._queues.values())

    def settle(
        self,
        delivery: Delivery,
        outcome: Outcome,
        children: Sequence[NewJob] = (),
        ran: Ran | None = None,
    ) -> None:
        """Record the outcome with the next batch, if the delivery is still ours then.

        Children are added in the same step, and only with Completed.
        """
        keys = delivery.stream.keys
        queue = self._queues.get(keys.base)
        if queue is None:
            queue = self._queues[keys.base] = _QueueSettler(self, keys)
        # For every job: by the class it takes more than twice as long, as for Settled.
        queue.add(tuple.__new__(Settlement, (delivery, outcome, children, ran)))

    def hurry(self) -> None:
        """Ask once more, at once, for what Redis has refused for now."""
        for queue in self._queues.values():
            queue.hurry()

    async def flushed(self) -> None:
        """Return when every outcome given so far is recorded or refused."""
        await asyncio.gather(*(queue.flushed() for queue in self._queues.values()))

    def close(self) -> None:
        """Give up what is not recorded: its jobs will be run again elsewhere."""
        for queue in self._queues.values():
            queue.close()


class _QueueSettler:
    def __init__(self, settler: Settler, keys: Keys) -> None:
        self._settler = settler
        self._keys = keys
        self._door = Door(settler.wire, keys, where=settler.where)
        what = f"cannot record outcomes in queue {keys.queue}"
        self._trouble = Trouble(logger, what, logging.ERROR)
        self._waiting: deque[Settlement] = deque()
        self._under_way: list[Settlement] = []
        # How many of those that wait go alone: one in their batch cannot be sent.
        self._singly = 0
        self._flushing: asyncio.Task[None] | None = None
        # How many of those that wait were sent together by a flush that was cut off.
        self._cut_off = 0
        # Refused for now, and asked again after a pause.
        self._postponed: list[Settlement] = []
        # Set at the stop: nobody will ask later.
        self._hurried = False
        self._closed = False

    @property
    def backlog(self) -> int:
        return len(self._waiting) + len(self._under_way) + len(self._postponed)

    def add(self, settlement: Settlement) -> None:
        self._waiting.append(settlement)
        # Asked here, too: this is done for every job.
        if self._flushing is None or self._flushing.done():
            self._flush_soon()
        cut("settle.decided")

    async def flushed(self) -> None:
        while (self._waiting or self._flushing is not None) and not self._closed:
            await asyncio.wait({self._flush_soon()})

    def close(self) -> None:
        self._closed = True
        if self._flushing is not None:
            self._flushing.cancel()

    def _flush_soon(self) -> asyncio.Task[None]:
        # Done: a task that is cancelled before its first step tidies nothing up.
        if self._flushing is None or self._flushing.done():
            self._flushing = self._settler.surroundings.fresh().run(
                asyncio.create_task, self._flush()
            )
        return self._flushing

    async def _flush(self) -> None:
        try:
            while self._waiting:
                again, self._cut_off = self._cut_off, 0
                self._under_way = self._first(again) if again else self._take()
                await self._send(self._under_way, again=again > 0)
                cut("settle.resolved")
                self._under_way = []
        finally:
            # Cut off at the end of the loop: Redis tells what became of the same batch, if it
            # has that already. Of another one with these it would say that they are not ours.
            self._cut_off = len(self._under_way)
            put_back(self._waiting, self._under_way)
            self._under_way = []
            self._flushing = None

    def _first(self, number: int) -> list[Settlement]:
        return [self._waiting.popleft() for _ in range(number)]

    def _take(self) -> list[Settlement]:
        if self._singly:
            self._singly -= 1
            return self._first(1)
        return by_stream(take(self._waiting, _cost, _MOST_TOGETHER))

    async def _send(self, batch: list[Settlement], *, again: bool) -> None:
        settler = self._settler
        try:
            items = self._items(batch)
            if settler.archive is not None:
                await settler.archive.write(batch)
            answer = await self._door.send(items, until=math.inf, again=again)
        except TaskManagerError as error:
            # Nothing was written, the jobs are still ours: say so and ask again.
            self._trouble.say(error)
            await asyncio.sleep(_PAUSE_AFTER_BROKEN_KEY)
            put_back(self._waiting, self._still_ours(batch))
            return
        except Exception as error:
            logger.exception("cannot send outcomes of queue %s", self._keys.queue)
            self._one_by_one(batch, error)
            return
        self._trouble.over()
        answers = words(answer)
        if "C" in answers:
            batch = [
                it.instead(Cancelled("cancelled")) if word == "C" else it
                for it, word in zip(batch, answers, strict=True)
            ]
            await self._archive_cancelled(batch, answers)
        if settled := self._settled(batch, answers):
            # The application's code gets it: what that does to a list, others would miss.
            settler.on_settled(tuple(settled))

    def _items(self, batch: list[Settlement]) -> Call:
        its = self._settler
        try:
            return settle_items(self._keys, its.consumer, its.result_ttl_ms, batch, its.bounds)
        except BaseException as error:
            # Outcomes and children are the application's objects: they may be and do anything.
            raise TypeError(f"an outcome is not valid: {named(error)}") from error

    async def _archive_cancelled(self, batch: list[Settlement], answers: list[str]) -> None:
        # What the runs came to was kept before Redis said that they were cancelled.
        if self._settler.archive is not None:
            ends = [it for it, word in zip(batch, answers, strict=True) if word == "C"]
            await self._settler.archive.write(ends)

    def _one_by_one(self, batch: list[Settlement], error: Exception) -> None:
        """Find the outcome that cannot be sent: the job of that one is buried instead."""
        if len(batch) > 1:
            self._singly += len(batch)
            put_back(self._waiting, batch)
            return
        (settlement,) = batch
        if isinstance(settlement.outcome, Buried) and settlement.outcome.reason == "bad_outcome":
            # Not even that can be sent: its lease ends.
            self._settler.leases.drop(settlement.delivery)
            return
        what = shown(settlement.outcome, _UNSENDABLE_SHOWN)
        why = f"this outcome could not be recorded: {what}\n{named(error)}"
        self._waiting.append(settlement.instead(Buried("bad_outcome", why)))

    def _still_ours(self, batch: list[Settlement]) -> list[Settlement]:
        # Asked once: the thread that renews may drop one in between.
        asked = [(it, it.delivery.key in self._settler.leases) for it in batch]
        if lost := tuple(Settled(it, False) for it, is_ours in asked if not is_ours):
            self._settler.on_settled(lost)
        return [it for it, is_ours in asked if is_ours]

    def _settled(self, batch: list[Settlement], answers: list[str]) -> list[Settled]:
        """Do what the answers ask; return what is done with."""
        settled = list[Settled]()
        for settlement, word in zip(batch, answers, strict=True):
            if word in "01C":
                self._settler.leases.drop(settlement[0])
                settled.append(tuple.__new__(Settled, (settlement, word != "0")))
            else:
                self._not_settled(settlement, word)
        return settled

    def _not_settled(self, settlement: Settlement, word: str) -> None:
        """Do what an answer asks that ends nothing."""
        delivery = settlement.delivery
        if word == "L" and settlement.outcome == Released("paused", delivery.envelope.event):
            # It stays with us until another event's lane has gone, or the pause is over.
            self._later(settlement)
            if self._hurried:
                self.hurry()
        elif word == "L":
            self._waiting.append(settlement.instead(self._without_room(settlement)))
        elif word == "M":
            buried = Buried("missing", f"another program deleted entry {delivery.entry}")
            self._waiting.append(settlement.instead(buried))
        else:
            logger.error(
                "the outcome of job %s is not recorded yet: %s",
                delivery.envelope.id, refused_key(word),
            )  # fmt: skip
            self._later(settlement)

    def _later(self, settlement: Settlement) -> None:
        self._postponed.append(settlement)
        asyncio.get_running_loop().call_later(_PAUSE_AFTER_BROKEN_KEY, self._again, settlement)

    def hurry(self) -> None:
        """Ask again at once for what was refused: after this nobody here will."""
        self._hurried = True
        for settlement in list(self._postponed):
            outcome = settlement.outcome
            if isinstance(outcome, Released):
                # Its own lane has room for it.
                outcome = Released("shutdown")
            self._postponed.remove(settlement)
            self.add(settlement._replace(outcome=outcome))

    def _again(self, settlement: Settlement) -> None:
        if settlement not in self._postponed:
            return
        self._postponed.remove(settlement)
        for ours in self._still_ours([settlement]):
            self.add(ours)

    def _without_room(self, settlement: Settlement) -> Buried:
        if isinstance(settlement.outcome, Released):
            return Buried(
                "no_handler",
                f"no handler is here for event {settlement.delivery.envelope.event!r}, and queue "
                f"{self._keys.queue!r} already has {MAX_EVENT_LANES} lanes for such events",
            )
        lanes = [it.lane for it in settlement.children] or [settlement.delivery.stream.lane]
        return Buried("failed", "; ".join(sorted({str(no_room_for(lane)) for lane in lanes})))


def _cost(settlement: Settlement) -> Cost:
    """Return about what a settlement takes of a batch; no bytes for one that cannot be sent."""
    try:
        return 1, bytes_of(settlement)
    except BaseException:
        return 1, 0
