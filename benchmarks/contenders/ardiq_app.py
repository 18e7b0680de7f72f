"""ArdiQ: a core in Rust, with a Python interface.

Configured: run in code, on uvloop, which its command line does not take; its default msgpack; as
many slots, and twice as many prefetched, its default: no other number was faster; no log line a
job, its default; results only where they are asked for, kept 300 s. Bulk is enqueue_many, with
1000 jobs each, as many as one of its scripts takes. It runs synchronous functions on asyncio's own
pool, which has 6 threads on two cores whatever the slots are; here it gets one of the slots' size.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import contender
import emitting
import mark
import told
from ardiq import Ardiq
from orders import Order, receipt

NO_RESULT, RESULT_MS = 0, 300_000

app = Ardiq(
    redis_url=told.URL,
    queue_name="bench",
    concurrency=told.SLOTS,
    result_ttl_ms=RESULT_MS if told.RESULTS else NO_RESULT,
)


@app.lifespan
async def threads() -> AsyncIterator[None]:
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(told.SLOTS))
    yield


@app.task()
async def noop(data: dict[str, Any]) -> None:
    mark.done()


@app.task()
async def sleep(data: dict[str, Any]) -> None:
    await asyncio.sleep(random.uniform(0, 0.020))
    mark.done()


@app.task()
def sync(data: dict[str, Any]) -> None:
    mark.done()


@app.task()
async def typed(data: dict[str, Any]) -> dict[str, int]:
    mark.done()
    return receipt(Order.model_validate(data))


@app.task()
async def wait(data: dict[str, int]) -> None:
    mark.waited(data["sent_ns"])


async def emit(mode: str) -> None:
    task = {"noop": noop, "sleep": sleep, "sync": sync, "typed": typed, "wait": wait}[told.HANDLER]
    # Its connection is opened at the first use.
    await app.queue_size()
    await emitting.emit(
        mode,
        one=task.enqueue,
        many=lambda batch: app.enqueue_many([task.prepare(data) for data in batch]),
        batch=1000,
    )


if __name__ == "__main__":
    contender.main(work=app.run, emit=emit)
