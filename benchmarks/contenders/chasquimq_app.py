"""ChasquiMQ: a core in Rust, with a Python interface.

Configured: uvloop; as many slots; reading up to 256 at a time, as its own benchmark does, instead
of 64; no stream of events, which would be one more XADD a job. It groups acknowledgements by
itself. Results only where they are asked for, kept 300 s; the contender with results stores one
of each job: a handler that returns None would leave none, so there they return True. Bulk is
add_bulk. It has no synchronous handlers. A queue holds a million jobs: of more, its stream loses
the oldest.
"""

from __future__ import annotations

import asyncio
import os
import random
from typing import Any

import contender
import emitting
import mark
import told
from chasquimq import Queue, Worker
from orders import Order, receipt

QUEUE = "bench"
RESULT_MS = 300_000
READ_AT_ONCE = 256


async def process(job: Any) -> dict[str, int] | bool | None:
    """Run a job: the one handler of a worker tells jobs apart by their name."""
    if job.name == "typed":
        mark.done()
        return receipt(Order.model_validate(job.data))
    if job.name == "wait":
        mark.waited(job.data["sent_ns"])
    else:
        if job.name == "sleep":
            await asyncio.sleep(random.uniform(0, 0.020))
        mark.done()
    return True if told.RESULTS else None


async def emit(mode: str) -> None:
    name = told.HANDLER
    async with Queue(QUEUE, redis_url=told.URL) as queue:
        # Its connections are opened at the first use.
        await queue.peek_dlq(1)
        await emitting.emit(
            mode,
            one=lambda data: queue.add(name, data),
            many=lambda batch: queue.add_bulk([{"name": name, "data": data} for data in batch]),
            batch=1000,
        )
    # Its threads have been seen to crash an interpreter that ends; all is emitted and told.
    os._exit(0)


async def work() -> None:
    worker = Worker(
        QUEUE,
        process,
        redis_url=told.URL,
        concurrency=told.SLOTS,
        read_count=READ_AT_ONCE,
        events_enabled=False,
        store_results=told.RESULTS,
        result_ttl_ms=RESULT_MS,
    )
    await worker.run()


if __name__ == "__main__":
    contender.main(work=work, emit=emit, cannot={"sync": "its handlers are coroutines"})
