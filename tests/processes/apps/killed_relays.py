"""Relays that are killed again and again: ``killed_relays.py URL SEED KILLS``.

Two relays at a time work on the outbox of the queue ``default``; each ends at a
random named point or by kill -9 at a random moment. The children that arrive are
completed soon, so that their ids do not keep them from being added again. Prints
how many were posted and, as JSON, which have arrived in which queue.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
import sys
import time

import redis as redis_py

from consumers.connection import Connector
from consumers.faults import arm
from consumers.keys import Keys
from consumers.outcome import Completed
from consumers.relay import Relay
from consumers.transitions import Settlement
from consumers.wire import Wire
from tests.support.queue import Queue, new_job

POINTS = ["locked", "before_send", "in_flight", "answered", "before_delete", "after_delete"]
BATCH = 7


def main(url: str, seed: int, kills: int) -> None:
    """Keep the outbox filled and relays at work until so many were killed."""
    chance, posted = random.Random(seed), 0
    with redis_py.Redis.from_url(url) as redis:
        queue, arrived = Queue(redis), {"x": [], "y": []}
        for _ in range(kills // 2):
            if redis.xlen(queue.keys.outbox) < 10 * BATCH:
                posted += post(queue, posted)
            # What its dead holder left would only cost seconds.
            redis.delete(queue.keys.relay_lock)
            relays = [start_relay(url, chance) for _ in range(2)]
            time.sleep(chance.uniform(0.0, 0.03))
            redis.delete(queue.keys.relay_lock)
            time.sleep(chance.uniform(0.0, 0.03))
            for name, ids in arrived.items():
                ids += complete(Queue(redis, name))
            for pid in relays:
                kill(pid)
    print("posted", posted, json.dumps(arrived), flush=True)


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


def start_relay(url: str, chance: random.Random) -> int:
    """Fork a relay; half of them end at a point of their own."""
    point = f"relay.{chance.choice(POINTS)}#{chance.randint(1, 4)}" if chance.random() < 0.5 else ""
    pid = os.fork()
    if pid == 0:
        arm(point)
        relay = Relay(Wire(Connector.of(url), name="relay"), Keys("default"), batch=BATCH)
        asyncio.run(relay.run())
        os._exit(1)
    return pid


def kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
