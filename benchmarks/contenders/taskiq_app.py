"""taskiq with taskiq-redis.

Configured: RedisStreamBroker, the one of its brokers that acknowledges, reading up to 1000 at a
time instead of 100; orjson for its messages; hiredis; one worker process, which takes uvloop by
itself; as many async tasks and threads as there are slots; results only where they are asked for,
kept 300 s. --max-prefetch is left at 0: no other value was faster. It has no bulk emit. Its stream
is not trimmed: with maxlen= it would lose waiting jobs.
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
from taskiq.serializers import ORJSONSerializer
from taskiq_redis import RedisAsyncResultBackend, RedisStreamBroker

# consumer_id: jobs that were emitted before the first worker started count as well.
broker = RedisStreamBroker(told.URL, consumer_id="0", xread_count=1000)
broker = broker.with_serializer(ORJSONSerializer())
if told.HANDLER == "typed":
    broker = broker.with_result_backend(RedisAsyncResultBackend(told.URL, result_ex_time=300))


@broker.task(task_name="noop")
async def noop(data: dict[str, Any]) -> None:
    mark.done()


@broker.task(task_name="sleep")
async def sleep(data: dict[str, Any]) -> None:
    await asyncio.sleep(random.uniform(0, 0.020))
    mark.done()


@broker.task(task_name="sync")
def sync(data: dict[str, Any]) -> None:
    mark.done()


@broker.task(task_name="typed")
async def typed(data: Order) -> dict[str, int]:
    mark.done()
    return receipt(data)


@broker.task(task_name="wait")
async def wait(data: dict[str, int]) -> None:
    mark.waited(data["sent_ns"])


async def emit(mode: str) -> None:
    task = broker.find_task(told.HANDLER)
    await broker.startup()
    await emitting.emit(mode, one=lambda data: task.kiq(data))
    await broker.shutdown()


def work() -> None:
    if told.LOOP != "uvloop":
        contender.give_up("its worker takes uvloop wherever it is installed")
    slots = str(told.SLOTS)
    options = ["--max-async-tasks", slots, "--max-threadpool-threads", slots]
    options += ["--workers", "1", "--log-level", "WARNING"]
    contender.become("taskiq", "worker", "taskiq_app:broker", *options)


if __name__ == "__main__":
    contender.main(work=work, emit=emit)
