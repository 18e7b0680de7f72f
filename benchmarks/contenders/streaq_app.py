"""streaq.

Configured: uvloop; coredis with hiredis; its default pickle; prefetching as many jobs as there
are slots and as many threads, both its default; results only where they are asked for, kept
300 s; no log line a job (silent). Bulk is enqueue_many.
"""

from __future__ import annotations

import asyncio
import random
from typing import Any

import contender
import emitting
import mark
import told
from orders import Order, receipt
from streaq import Worker

worker = Worker(
    redis_url=told.URL,
    concurrency=told.SLOTS,
    anyio_kwargs={"use_uvloop": told.LOOP == "uvloop"},
)


@worker.task(ttl=0, silent=True)
async def noop(data: dict[str, Any]) -> None:
    mark.done()


@worker.task(ttl=0, silent=True)
async def sleep(data: dict[str, Any]) -> None:
    await asyncio.sleep(random.uniform(0, 0.020))
    mark.done()


@worker.task(ttl=0, silent=True)
def sync(data: dict[str, Any]) -> None:
    mark.done()


@worker.task(ttl=300, silent=True)
async def typed(data: dict[str, Any]) -> dict[str, int]:
    mark.done()
    return receipt(Order.model_validate(data))


@worker.task(ttl=0, silent=True)
async def wait(data: dict[str, int]) -> None:
    mark.waited(data["sent_ns"])


async def emit(mode: str) -> None:
    task = {"noop": noop, "sleep": sleep, "sync": sync, "typed": typed, "wait": wait}[told.HANDLER]
    async with worker:
        await emitting.emit(
            mode,
            one=task.enqueue,
            many=lambda batch: worker.enqueue_many([task.enqueue(data) for data in batch]),
            batch=1000,
        )


if __name__ == "__main__":
    contender.main(work=worker.run_sync, emit=emit)
