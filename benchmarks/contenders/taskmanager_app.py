"""This project: its facade, and the worker of its command line.

Configured: nothing but the number of slots, so fencing, de-duplication, results and
metrics are on. The command line takes uvloop where it is installed; to be measured on
asyncio's own loop it is run with uvloop hidden.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import contender
import emitting
import mark
import told
from orders import Order, receipt
from payloads import payload

from taskmanager import Job, TaskManager

# A list of more would only take memory.
BATCH = 10_000
PRIORITIES = range(10)

tm = TaskManager(told.URL, concurrency=told.SLOTS)


@tm.registerHandler(event="noop")
async def noop(job: Job[Any]) -> None:
    mark.done()


@tm.registerHandler(event="sleep")
async def sleep(job: Job[Any]) -> None:
    await asyncio.sleep(random.uniform(0, 0.020))
    mark.done()


@tm.registerHandler(event="sync")
def sync(job: Job[Any]) -> None:
    mark.done()


@tm.registerHandler(event="typed", payload=Order)
async def typed(job: Job[Order]) -> dict[str, int]:
    mark.done()
    return receipt(job.data)


@tm.registerHandler(event="wait")
async def wait(job: Job[Any]) -> None:
    mark.waited(job.data["sent_ns"])


async def emit(mode: str) -> None:
    event = told.HANDLER
    async with tm:
        await emitting.emit(
            mode,
            one=lambda data: tm.emit(event, data=data),
            many=lambda batch: tm.emit_many([{"event": event, "data": data} for data in batch]),
            batch=BATCH,
        )


async def emit_delayed() -> None:
    """Emit jobs that are all due at one moment, with which they are late as their mark."""
    due = datetime.fromtimestamp(told.DUE, UTC)
    # Equal data would be one job.
    jobs = (
        {
            "event": "wait",
            "data": {"sent_ns": round(told.DUE * 1e9), "n": number},
            "delay_until": due,
        }
        for number in range(told.JOBS)
    )
    await _emit_all(jobs)


async def emit_priorities() -> None:
    """Emit jobs of ten priorities in turn."""
    jobs = (
        {
            "event": told.HANDLER,
            "data": payload(number),
            "priority": PRIORITIES[number % len(PRIORITIES)],
        }
        for number in range(told.JOBS)
    )
    await _emit_all(jobs)


async def _emit_all(jobs: Iterator[dict[str, Any]]) -> None:
    async with tm:
        began = time.perf_counter()
        for batch in emitting.batches(jobs, BATCH):
            await tm.emit_many(batch)
        emitting.tell(time.perf_counter() - began)


def work() -> None:
    if told.LOOP == "uvloop":
        contender.become("python", "-m", "taskmanager", "worker", "taskmanager_app:tm")
    hide = "import sys; sys.modules['uvloop'] = None; from taskmanager.cli import main; main()"
    contender.become("python", "-c", hide, "worker", "taskmanager_app:tm")


if __name__ == "__main__":
    contender.main(
        work=work,
        emit=emit,
        also={"emit-delayed": emit_delayed, "emit-priorities": emit_priorities},
    )
