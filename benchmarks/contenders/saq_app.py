"""SAQ.

Configured: uvloop; hiredis; orjson, as its documentation proposes for dump and load; one worker
with as many slots; results only where they are asked for (ttl=-1 is its "disabled"), kept 300 s.
It has no bulk emit. Its pool for synchronous functions has 6 threads on two cores whatever the
slots are; here it gets one of the slots' size.
"""

from __future__ import annotations

import asyncio
import random
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import contender
import emitting
import mark
import orjson
import told
from orders import Order, receipt
from saq import Queue, Worker

NO_RESULT, RESULT_S = -1, 300


async def noop(ctx: Any, *, data: dict[str, Any]) -> None:
    mark.done()


async def sleep(ctx: Any, *, data: dict[str, Any]) -> None:
    await asyncio.sleep(random.uniform(0, 0.020))
    mark.done()


def sync(ctx: Any, *, data: dict[str, Any]) -> None:
    mark.done()


async def typed(ctx: Any, *, data: dict[str, Any]) -> dict[str, int]:
    mark.done()
    return receipt(Order.model_validate(data))


async def wait(ctx: Any, *, data: dict[str, int]) -> None:
    mark.waited(data["sent_ns"])


async def emit(mode: str) -> None:
    queue = _queue()
    ttl = RESULT_S if told.HANDLER == "typed" else NO_RESULT
    await queue.connect()
    await emitting.emit(mode, one=lambda data: queue.enqueue(told.HANDLER, ttl=ttl, data=data))
    await queue.disconnect()


async def work() -> None:
    functions = [noop, sleep, sync, typed, wait]
    worker = Worker(_queue(), functions=functions, concurrency=told.SLOTS)
    worker.pool = ThreadPoolExecutor(told.SLOTS)
    await worker.start()


def _queue() -> Any:
    return Queue.from_url(told.URL, dump=orjson.dumps, load=orjson.loads)


if __name__ == "__main__":
    contender.main(work=work, emit=emit)
