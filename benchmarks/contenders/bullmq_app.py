"""BullMQ for Python.

Configured: uvloop; hiredis; as many slots; completed jobs removed, and kept for 300 s where the
result is asked for (a result is part of its job). Bulk is addBulk.
"""

from __future__ import annotations

import asyncio
import random
from typing import Any

import contender
import emitting
import mark
import told
from bullmq import Queue, Worker
from orders import Order, receipt

QUEUE = "bench"
CONNECTION = {"host": told.HOST, "port": told.PORT, "db": told.DATABASE}
OPTIONS = {"removeOnComplete": {"age": 300} if told.HANDLER == "typed" else True}


async def process(job: Any, token: str) -> dict[str, int] | None:
    """Run a job: the one processor of a worker tells jobs apart by their name."""
    if job.name == "typed":
        mark.done()
        return receipt(Order.model_validate(job.data))
    if job.name == "wait":
        mark.waited(job.data["sent_ns"])
        return None
    if job.name == "sleep":
        await asyncio.sleep(random.uniform(0, 0.020))
    mark.done()
    return None


async def emit(mode: str) -> None:
    queue = Queue(QUEUE, {"connection": CONNECTION})
    await queue.getJobCounts("waiting")
    name = told.HANDLER
    await emitting.emit(
        mode,
        one=lambda data: queue.add(name, data, OPTIONS),
        many=lambda batch: queue.addBulk(
            [{"name": name, "data": data, "opts": OPTIONS} for data in batch]
        ),
        batch=1000,
    )
    await queue.close()


async def work() -> None:
    # Held, or it could be collected while it works.
    worker = Worker(QUEUE, process, {"connection": CONNECTION, "concurrency": told.SLOTS})
    await asyncio.Event().wait()
    await worker.close()


if __name__ == "__main__":
    contender.main(work=work, emit=emit, cannot={"sync": "its processors are coroutines"})
