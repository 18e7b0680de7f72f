"""arq.

Configured: uvloop; hiredis; its default pickle; as many slots; results only where they are asked
for, kept 300 s; no log of results. Its worker looks for jobs every poll_delay and takes what fits
its slots, so that the default of 0.5 s would be the limit of what it does: 64 slots would be some
hundred jobs a second. It gets 10 ms. It has no bulk emit and no synchronous handlers: these are
run in threads by an executor in ctx, which is how its documentation does it.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import contender
import emitting
import mark
import told
from arq import create_pool, func
from arq.connections import RedisSettings
from arq.worker import Worker
from orders import Order, receipt

POLL_S = 0.010
RESULT_S = 300


async def noop(ctx: Any, data: dict[str, Any]) -> None:
    mark.done()


async def sleep(ctx: Any, data: dict[str, Any]) -> None:
    await asyncio.sleep(random.uniform(0, 0.020))
    mark.done()


async def sync(ctx: Any, data: dict[str, Any]) -> None:
    await asyncio.get_running_loop().run_in_executor(ctx["threads"], mark.done)


async def typed(ctx: Any, data: dict[str, Any]) -> dict[str, int]:
    mark.done()
    return receipt(Order.model_validate(data))


async def wait(ctx: Any, data: dict[str, int]) -> None:
    mark.waited(data["sent_ns"])


async def emit(mode: str) -> None:
    redis = await create_pool(RedisSettings.from_dsn(told.URL))
    await emitting.emit(mode, one=lambda data: redis.enqueue_job(told.HANDLER, data))
    await redis.aclose()


async def work() -> None:
    worker = Worker(
        [noop, sleep, sync, wait, func(typed, keep_result=RESULT_S)],
        redis_settings=RedisSettings.from_dsn(told.URL),
        max_jobs=told.SLOTS,
        poll_delay=POLL_S,
        keep_result=0,
        log_results=False,
        ctx={"threads": ThreadPoolExecutor(told.SLOTS)},
    )
    # How it ends at a signal.
    with contextlib.suppress(asyncio.CancelledError):
        await worker.async_run()


if __name__ == "__main__":
    contender.main(work=work, emit=emit)
