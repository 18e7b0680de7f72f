"""dramatiq with its Redis broker.

Configured: one process; hiredis; its Prometheus middleware is not added; results only where they
are asked for, kept 300 s. Its handlers are run by threads, and so are coroutines: its AsyncIO
middleware has one event loop a process, and a thread waits for each. Threads are as many as there
are slots where handlers wait, and THREADS at most where they do not, as the GIL makes more of them
slower. PREFETCH jobs are fetched ahead: with the default, two for each thread, its worker waits
for Redis and does a quarter as much. It has no bulk emit.
"""

from __future__ import annotations

import asyncio
import os
import random
from typing import Any

import contender
import dramatiq
import emitting
import mark
import told
from dramatiq.brokers.redis import RedisBroker
from dramatiq.middleware import AsyncIO
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend
from orders import Order, receipt

THREADS = 8
PREFETCH = 512
PREFETCH_VARIABLE = "dramatiq_queue_prefetch"
# Each waits for its reply with the GIL free, and two keep that busy.
EMITTERS = 2

broker = RedisBroker(url=told.URL)
broker.add_middleware(AsyncIO())
broker.add_middleware(Results(backend=RedisBackend(url=told.URL), result_ttl=300_000))
dramatiq.set_broker(broker)


@dramatiq.actor
def noop(data: dict[str, Any]) -> None:
    mark.done()


@dramatiq.actor
async def sleep(data: dict[str, Any]) -> None:
    await asyncio.sleep(random.uniform(0, 0.020))
    mark.done()


@dramatiq.actor
def sync(data: dict[str, Any]) -> None:
    mark.done()


@dramatiq.actor(store_results=True)
def typed(data: dict[str, Any]) -> dict[str, int]:
    mark.done()
    return receipt(Order.model_validate(data))


@dramatiq.actor
def wait(data: dict[str, int]) -> None:
    mark.waited(data["sent_ns"])


def emit(mode: str) -> None:
    broker.client.ping()
    emitting.emit_blocking(mode, broker.get_actor(told.HANDLER).send, threads=EMITTERS)


def work() -> None:
    os.environ[PREFETCH_VARIABLE] = str(PREFETCH)
    threads = told.SLOTS if told.HANDLER == "sleep" else min(told.SLOTS, THREADS)
    contender.become("dramatiq", "dramatiq_app", "--processes", "1", "--threads", str(threads))


if __name__ == "__main__":
    contender.main(work=work, emit=emit)
