"""The thread that renews leases, with a connection of its own.

So a handler that blocks the event loop does not lose its job (G8).
"""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
import traceback
from collections import defaultdict
from collections.abc import Callable, Iterable
from functools import partial
from types import FrameType

from redis.exceptions import RedisError, ResponseError

from consumers.connections.channel import SyncChannel
from consumers.connections.connector import Connector
from consumers.connections.trouble import Trouble
from consumers.jobs.outcome import Released
from consumers.lease.leases import HELD_AT_MOST, RENEWALS_PER_LEASE, Leases
from consumers.store.batching import chunks
from consumers.store.delivery import Delivery
from consumers.store.door import numbered
from consumers.store.keys import Keys
from consumers.store.leasing import renew
from consumers.store.scripts import Call, ask_in_thread
from consumers.store.settling import Settlement, settle_items
from consumers.store.steps import words

logger = logging.getLogger("taskmanager.worker")

LAG_WORTH_SAYING = 1.0
# A slow reply keeps the thread from looking for some seconds; for longer, the process stood still.
_MOST_BETWEEN_LOOKS = 10.0
# A silent Redis must not hold up the end of a process: the thread ends with it.
_JOIN = 1.0


class Renewer:
    """The thread that renews leases, and minds the event loop while it does not turn.

    on_lost is called on the event loop with each delivery that is not ours any
    more, on_cancelled with each whose job somebody cancelled. While the loop is
    blocked the thread also hands back held deliveries. A loop that has not turned
    for max_lag seconds counts as dead: nothing is renewed until it turns again, and
    on_dead_loop is called once, in the thread.
    """

    def __init__(
        self,
        leases: Leases,
        connector: Connector,
        *,
        consumer: str,
        on_lost: Callable[[Delivery], None],
        on_cancelled: Callable[[Delivery], None],
        max_lag: float,
        on_dead_loop: Callable[[], None],
    ) -> None:
        self._leases = leases
        self._connector = connector
        self._consumer = consumer
        self._on_lost = on_lost
        self._on_cancelled = on_cancelled
        self._max_lag = max_lag
        self._on_dead_loop = on_dead_loop
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self._loop_thread = threading.get_ident()
        self._turned = time.monotonic()
        self._asked = self._turned
        self._looked = self._turned
        # For how long, in seconds, the loop was seen not to turn up to now.
        self._stuck = 0.0
        self._said = self._is_dead = False
        self._trouble = Trouble(logger, "could not renew leases")
        # Taken out of held and not handed back yet: Redis may be away just then.
        self._returning: list[Delivery] = []
        # Lost, which the loop was told and may not have heard yet.
        self._lost: set[Delivery] = set()
        # The longest time, in seconds, that the loop was seen not to turn.
        self.worst_lag = 0.0

    def start(self) -> None:
        """Start the thread."""
        self._thread = threading.Thread(target=self._run, name="lease-renewer", daemon=True)
        self._thread.start()

    async def stop(self) -> None:
        """End the thread; a renewal under way is finished first, unless Redis is silent."""
        self._stopping.set()
        if self._thread is not None:
            # A join would need a thread to wait in, and handlers may have taken all of the
            # loop's own for as long as they like.
            await asyncio.wait({self._ended}, timeout=_JOIN)

    def _run(self) -> None:
        channel = SyncChannel(self._connector, name=f"renewer-{self._consumer}")
        try:
            while not self._stopping.wait(self._tick()):
                self._step(channel)
        finally:
            channel.close()
            self._call_loop(self._ended.set_result, None)

    def _tick(self) -> float:
        shortest = min(self._leases.seconds.values(), default=30.0)
        return min(0.5, shortest / RENEWALS_PER_LEASE / 4)

    def _step(self, channel: SyncChannel) -> None:
        # Nothing may end this thread: all leases of the process hang on it.
        for do in (partial(self._mind, channel), self._lose_expired):
            try:
                do()
            except RedisError as error:
                self._trouble.say(error)
            except Exception:
                logger.exception("renewing leases failed")

    def _mind(self, channel: SyncChannel) -> None:
        lag = self._look_at_loop()
        if not self._is_dead:
            self._renew_due(channel)
        if lag > HELD_AT_MOST:
            self._returning += self._leases.overdue(after=HELD_AT_MOST)
        if self._returning:
            self._hand_back(channel)

    def _lose_expired(self) -> None:
        for delivery in self._leases.expired():
            self._lose(delivery)

    def _look_at_loop(self) -> float:
        now, before = time.monotonic(), self._looked
        self._looked = now
        if self._turned >= self._asked:
            self._asked, self._stuck, self._said, self._is_dead = now, 0.0, False, False
            self._lost.clear()
            self._call_loop(self._turn)
            return 0.0
        lag = now - self._asked
        self.worst_lag = max(self.worst_lag, lag)
        # While the whole process stands still nobody can say whether the loop would turn.
        self._stuck += min(now - before, _MOST_BETWEEN_LOOKS)
        if lag > LAG_WORTH_SAYING and not self._said:
            self._said = True
            logger.warning("event loop blocked for %.1f s by %s", lag, self._where())
        if self._stuck > self._max_lag and not self._is_dead:
            self._give_up()
        return lag

    def _give_up(self) -> None:
        """Leave the jobs of a loop that seems to be dead to other workers."""
        self._is_dead = True
        logger.error(
            "event loop blocked for %.0f s (max_loop_lag is %g) by %s; no longer renewing leases, "
            "other workers may take over the jobs",
            self._stuck, self._max_lag, self._where(),
        )  # fmt: skip
        self._on_dead_loop()

    def _turn(self) -> None:
        self._turned = time.monotonic()

    def _where(self) -> str:
        frame: FrameType | None = sys._current_frames().get(self._loop_thread)
        if frame is None:
            return "an unknown function"
        frames = traceback.extract_stack(frame)[-3:]
        places = [f"{it.name} ({it.filename}:{it.lineno})" for it in reversed(frames)]
        return ", called by ".join(places)

    def _renew_due(self, channel: SyncChannel) -> None:
        for keys, deliveries in self._leases.due().items():
            try:
                self._renew(channel, keys, deliveries)
            except ResponseError as error:
                # Of this queue alone: the leases of the others want renewing as well.
                self._trouble.say(error)

    def _renew(self, channel: SyncChannel, keys: Keys, deliveries: list[Delivery]) -> None:
        patience = max(0.5, self._leases.seconds[keys.queue] / RENEWALS_PER_LEASE)
        for batch in chunks(deliveries):
            asked = time.monotonic()
            flags = ask_in_thread(channel, renew(keys, self._consumer, batch), timeout=patience)
            self._trouble.over()
            for delivery, flag in zip(batch, flags.decode(), strict=True):
                if flag == "0":
                    self._lose(delivery)
                    continue
                delivery.renewed_at = asked
                if flag == "C" and not delivery.cancelled:
                    self._call_loop(self._on_cancelled, delivery)

    def _lose(self, delivery: Delivery) -> None:
        self._leases.held.pop(delivery, None)
        if delivery not in self._lost:
            self._lost.add(delivery)
            self._call_loop(self._on_lost, delivery)

    def _hand_back(self, channel: SyncChannel) -> None:
        by_queue: dict[Keys, list[Settlement]] = defaultdict(list)
        for delivery in self._returning:
            released = Settlement(delivery, Released("held"))
            by_queue[delivery.stream.keys].append(released)
        for keys, settlements in by_queue.items():
            for batch in chunks(settlements):
                answer = ask_in_thread(channel, _release(keys, self._consumer, batch), timeout=5.0)
                for settlement, word in zip(batch, words(answer), strict=True):
                    # What is refused (a foreign key is in the way) is tried again. An entry that
                    # somebody deleted is not: whoever sweeps its lane counts it as missing.
                    if word in "01CM":
                        self._leases.drop(settlement.delivery)
                        self._returning.remove(settlement.delivery)

    def _call_loop(self, callback: Callable[..., None], *args: object) -> None:
        try:
            self._loop.call_soon_threadsafe(callback, *args)
        except RuntimeError:
            # The loop was closed under us: nobody is left to tell.
            self._stopping.set()


def _release(keys: Keys, consumer: str, settlements: Iterable[Settlement]) -> Call:
    # Number 0: a release that is repeated finds the fence closed and does nothing,
    # so it needs no memory at the door.
    return numbered(
        settle_items(keys, consumer, 0, settlements), keys, "renewer", number=0, digest=""
    )
