"""A producer process: ``python -m tests.chaos.producer URL MANNER`` emits until SIGTERM.

MANNER is ``async`` (emit and emit_many on an event loop) or ``sync`` (emit_sync
from threads). Everything tried is written down before, and its outcome after.
Its last orders are probes: who is told to end mostly is because the faults are over.
"""

from __future__ import annotations

import asyncio
import json
import random
import signal
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any

from consumers.errors import QueueFull, RedisUnavailable
from taskmanager import JobHandle, TaskManager
from taskmanager.emit.errors import EmitManyError
from tests.chaos import mutants
from tests.chaos.setting import Setting
from tests.chaos.workload import Order, orders, probes, shares
from tests.support.oracle import Recorder, read_records

# Seconds between two handfuls of jobs.
_TICK = 0.1
# Emits that wait for a Redis that is away; then no more are tried.
_MOST_OPEN = 100
_THREADS = 4
# A fault is noted so many seconds before who it concerns notices it, at most.
_NOTED_WITHIN = 2.0


class Producer:
    """Emits the orders of one process and writes down what became of each."""

    def __init__(self, url: str, setting: Setting) -> None:
        self.tm: TaskManager[Any] = TaskManager(url, emit_timeout=5.0)
        self.recorder = Recorder(setting.records, setting.name)
        self.name = setting.name
        self.began_at = time.monotonic()
        # A restarted producer must not emit the same ids again.
        name = f"{setting.name}.{setting.start}"
        self.dice = random.Random(f"{setting.seed} {name}")
        self.orders: Iterator[Order] = orders(setting.kinds, setting.lease, name, self.dice)
        self.handful = max(1, round(setting.rate * _TICK))
        self.probes = probes(name)
        # What it means to emit: jobs a second of each kind.
        chosen = shares(setting.kinds)
        total = sum(chosen.values())
        rates = {event: setting.rate * it / total for event, it in chosen.items()}
        self.recorder.note("began", detail=json.dumps(rates))

    def tried(self, order: Order) -> None:
        """Note an order that is about to be emitted."""
        due = time.time() + order.delay if order.delay else 0.0
        self.recorder.note(
            "try", job=order.id, queue=order.queue, event=order.event, due=due, detail=order.key
        )

    def acknowledged(self, order: Order, handle: JobHandle | Any) -> None:
        """Note an order that Redis has."""
        detail = "created" if handle.created else "existing"
        self.recorder.note(
            "ack", job=order.id, queue=order.queue, event=order.event, detail=detail, on=handle.id
        )

    def last_orders(self) -> list[Order]:
        """Return the probes, and note that the faults are over, if it was told to end for that.

        The nemesis tells it so too, and notes that just before.
        """
        since = max(self.began_at, time.monotonic() - _NOTED_WITHIN)
        for it in read_records(self.recorder.folder):
            if it.detail == "terminate" and it.on == self.name and it.at > since:
                return []
        self.recorder.note("healed")
        return self.probes

    def failed(self, order: Order, error: Exception) -> bool:
        """Note an order that is not known to be stored; return whether it may be repeated."""
        what = "refused" if isinstance(error, QueueFull) else getattr(error, "outcome", "error")
        self.recorder.note(
            what, job=order.id, queue=order.queue, event=order.event, detail=repr(error)
        )
        return isinstance(error, RedisUnavailable)


async def emit_for_ever(producer: Producer, stopping: asyncio.Event) -> None:
    """Emit on this loop until told to stop, then let what is under way end."""
    tasks: set[asyncio.Task[None]] = set()
    async with producer.tm:
        while not stopping.is_set():
            if len(tasks) < _MOST_OPEN:
                for work in _handful(producer):
                    task = asyncio.create_task(work)
                    tasks.add(task)
                    task.add_done_callback(tasks.discard)
            await asyncio.sleep(_TICK)
        await asyncio.gather(*tasks, _emit_many(producer, producer.last_orders()))


def _handful(producer: Producer) -> Iterator[Any]:
    """Yield what emits the next handful of orders: mostly one by one, sometimes together."""
    batch = list(islice(producer.orders, producer.handful))
    if producer.dice.random() < 0.2:
        yield _emit_many(producer, batch)
        return
    for order in batch:
        yield _emit(producer, order)


async def _emit(producer: Producer, order: Order) -> None:
    for _ in range(2):
        producer.tried(order)
        try:
            handle = await producer.tm.emit(
                order.event, id=order.id, queue=order.queue, **order.arguments
            )
        except Exception as error:
            if not producer.failed(order, error):
                return
        else:
            producer.acknowledged(order, handle)
            return


async def _emit_many(producer: Producer, batch: list[Order]) -> None:
    for order in batch:
        producer.tried(order)
    items = [{"event": it.event, "id": it.id, "queue": it.queue, **it.arguments} for it in batch]
    handles: list[JobHandle | None] = []
    failures: dict[int, Exception] = {}
    try:
        handles = [*await producer.tm.emit_many(items)]
    except EmitManyError as error:
        handles, failures = error.handles, error.errors
    except Exception as error:
        failures = dict.fromkeys(range(len(batch)), error)
    for at, order in enumerate(batch):
        if at in failures:
            producer.failed(order, failures[at])
        else:
            producer.acknowledged(order, handles[at])


def emit_from_threads(producer: Producer, stopping: threading.Event) -> None:
    """Emit from some threads until told to stop, then let what is under way end."""
    open_emits = threading.Semaphore(_MOST_OPEN)
    with ThreadPoolExecutor(_THREADS) as threads:
        while not stopping.wait(_TICK):
            for order in islice(producer.orders, producer.handful):
                if open_emits.acquire(blocking=False):
                    done = threads.submit(_emit_sync, producer, order)
                    done.add_done_callback(lambda _: open_emits.release())
        for order in producer.last_orders():
            threads.submit(_emit_sync, producer, order)


def _emit_sync(producer: Producer, order: Order) -> None:
    producer.tried(order)
    try:
        handle = producer.tm.emit_sync(
            order.event, id=order.id, queue=order.queue, **order.arguments
        )
    except Exception as error:
        producer.failed(order, error)
    else:
        producer.acknowledged(order, handle)


def main(url: str, manner: str) -> None:
    """Emit until SIGTERM."""
    setting = Setting.of_process()
    mutants.become(setting.mutant)
    producer = Producer(url, setting)
    if manner == "sync":
        stopped = threading.Event()
        signal.signal(signal.SIGTERM, lambda *_: stopped.set())
        emit_from_threads(producer, stopped)
    else:
        asyncio.run(_until_sigterm(producer))


async def _until_sigterm(producer: Producer) -> None:
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    await emit_for_ever(producer, stopping)


if __name__ == "__main__":
    main(*sys.argv[1:])
