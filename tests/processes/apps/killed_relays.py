"""Relays that are killed again and again: ``killed_relays.py URL SEED KILLS``.

Two relays at a time work on the outbox of the queue ``default``; each ends at a
random named point or by kill -9 at a random moment. The children that arrive are
completed soon, so that their ids do not keep them from being added again. It ends
once so many relays were killed at work. Prints as JSON how many children were
posted, which have arrived in which queue, how many relays were killed, and how
many of them where: at or behind which named point, or ``idle``.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import mmap
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from typing import NoReturn

import redis as redis_py

import consumers.upkeep.relay
from consumers import cuts
from consumers.connections.connector import Connector
from consumers.connections.wire import Wire
from consumers.jobs.outcome import Completed
from consumers.store.keys import Keys
from consumers.store.settling import Settlement
from consumers.upkeep.relay import Relay
from tests.support.queue import Queue, new_job

IDLE = "idle"
POINTS = ["locked", "before_send", "in_flight", "answered", "before_delete", "after_delete"]
WHERE = [IDLE, *POINTS]
BATCH = 7
# Each batch is some round trips to Redis: enough of them that none runs out of work.
BATCHES_AHEAD = 100
# A relay needs this long for a few batches.
A_FEW_BATCHES = 0.008
PATIENCE = 10.0


class WatchedRelay(Relay):
    """Writes down, where its parent can read it, which point it has passed last in a step."""

    def __init__(self, wire: Wire, keys: Keys, seen: mmap.mmap) -> None:
        super().__init__(wire, keys, batch=BATCH)
        self._seen = seen
        consumers.upkeep.relay.cut = self._pass(cuts.cut)
        consumers.upkeep.relay.cut_in_flight = self._pass(cuts.cut_in_flight)

    async def step(self) -> None:
        try:
            await super().step()
        finally:
            self._seen[0] = WHERE.index(IDLE)

    async def _lock(self) -> bool:
        taken = await super()._lock()
        if not taken:
            self._seen[0] = WHERE.index(IDLE)
        return taken

    def _pass(self, really: Callable[[str], None]) -> Callable[[str], None]:
        def passing(point: str) -> None:
            self._seen[0] = WHERE.index(point.removeprefix("relay."))
            really(point)

        return passing


class Victim:
    """A relay in a process of its own; half of them end at a point of their own."""

    def __init__(self, url: str, chance: random.Random) -> None:
        self._seen = mmap.mmap(-1, 1)
        point = a_point(chance) if chance.random() < 0.5 else ""
        self._pid = os.fork()
        if self._pid == 0:
            self._work(url, point)

    def wait_for_work(self) -> None:
        """Return once it has begun, or has ended at its point already."""
        until = time.monotonic() + PATIENCE
        while self.where == IDLE and time.monotonic() < until:
            time.sleep(0.0005)

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)

    @property
    def where(self) -> str:
        """The point it has passed last, idle outside of a step; that is final once it is dead."""
        return WHERE[self._seen[0]]

    def _work(self, url: str, point: str) -> NoReturn:
        try:
            cuts.arm(point)
            wire = Wire(Connector.of(url), name="relay")
            asyncio.run(WatchedRelay(wire, Keys("default"), self._seen).run())
        finally:
            os._exit(1)


def a_point(chance: random.Random) -> str:
    point = chance.choice(POINTS)
    # The lock is taken once for the whole outbox.
    return f"relay.{point}#{1 if point == 'locked' else chance.randint(1, 4)}"


def main(url: str, seed: int, kills: int) -> None:
    """Keep the outbox filled and relays at work until so many were killed at it."""
    chance, posted, where = random.Random(seed), 0, Counter[str]()
    arrived: dict[str, list[str]] = {"x": [], "y": []}
    with redis_py.Redis.from_url(url) as redis:
        queue = Queue(redis)

        def clear() -> None:
            for name, ids in arrived.items():
                ids += complete(Queue(redis, name))

        while where.total() - where[IDLE] < kills:
            while redis.xlen(queue.keys.outbox) < BATCHES_AHEAD * BATCH:
                posted += post(queue, posted)
            where.update(kill_two(url, redis, chance, clear))
            clear()
    told = {"posted": posted, "arrived": arrived, "killed": where.total(), "where": where}
    print(json.dumps(told), flush=True)


def kill_two(
    url: str, redis: redis_py.Redis, chance: random.Random, clear: Callable[[], None]
) -> list[str]:
    """Have two relays work on the outbox at once, kill both; return where they were."""
    victims = []
    for _ in range(2):
        # Or the second would wait for the first, and both for what the last two left.
        redis.delete(Keys("default").relay_lock)
        victims.append(Victim(url, chance))
        victims[-1].wait_for_work()
        time.sleep(chance.uniform(0.0, A_FEW_BATCHES))
        if chance.random() < 0.3:
            clear()
    for victim in victims:
        victim.kill()
    return [victim.where for victim in victims]


def post(queue: Queue, number: int, count: int = 200) -> int:
    """Complete a parent that has children for two other queues."""
    children = [
        new_job(f"child-{it}", queue="x" if it % 3 else "y") for it in range(number, number + count)
    ]
    parent = queue.one(new_job(f"parent-{number}"))
    assert queue.settle(Settlement(parent, Completed(), children), writer=f"w-{number}") == ["1"]
    return count


def complete(queue: Queue) -> list[str]:
    """Complete what has arrived in a queue and return the ids in their order."""
    if not queue.redis.zcard(queue.keys.lanes):
        return []
    deliveries = queue.deliver()
    queue.settle(*((it, Completed()) for it in deliveries), result_ttl_ms=0, number=0)
    return [it.envelope.id for it in deliveries]


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
