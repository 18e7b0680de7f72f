"""Emit and run the jobs of the workloads that only this project has.

    python -m benchmarks.own emit|work

It is told by the environment what contenders are told, and beside that:

    BENCH_PRIORITIES   over how many priorities the jobs are spread, from 0 up; 1
    BENCH_DUE_MS       when the first job is due, in Unix milliseconds; 0: at once
    BENCH_DUE_OVER_MS  over how many milliseconds from then the jobs are due; 0: all together
    BENCH_RESULT_TTL   seconds that a worker's results are kept; the default

Handlers: noop leaves a mark; late leaves how long after its due time it ran; hold leaves
a mark and never ends.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

from benchmarks.loops import fastest_loop
from taskmanager import Job, TaskManager

_UNIX = datetime(1970, 1, 1, tzinfo=UTC)
# More at once would keep a million payloads in memory.
_CHUNK = 10_000


def _number(name: str, default: int) -> int:
    return int(os.environ.get(name, default))


JOBS = _number("BENCH_JOBS", 1000)
HANDLER = os.environ.get("BENCH_HANDLER", "noop")
PRIORITIES = _number("BENCH_PRIORITIES", 1)
DUE_MS = _number("BENCH_DUE_MS", 0)
DUE_OVER_MS = _number("BENCH_DUE_OVER_MS", 0)

_marks = os.open(os.environ.get("BENCH_MARK", os.devnull), os.O_WRONLY | os.O_APPEND | os.O_CREAT)
_ttl = os.environ.get("BENCH_RESULT_TTL")
tm = TaskManager(
    os.environ.get("BENCH_URL"),
    concurrency=_number("BENCH_SLOTS", 64),
    result_ttl=None if _ttl is None else float(_ttl),
)


@tm.registerHandler(event="noop")
async def noop(job: Job[dict[str, int]]) -> None:
    """Leave a mark."""
    os.write(_marks, b"x")


@tm.registerHandler(event="late")
async def late(job: Job[dict[str, int]]) -> None:
    """Leave a line with the whole microseconds since the job was due."""
    late_us = time.time_ns() // 1000 - job.data["due_ms"] * 1000
    os.write(_marks, b"%d\n" % late_us)


@tm.registerHandler(event="hold")
async def hold(job: Job[dict[str, int]]) -> None:
    """Leave a mark, and keep the slot."""
    os.write(_marks, b"x")
    await asyncio.Event().wait()


async def emit() -> None:
    """Emit the jobs that the environment asks for; print what it took."""
    async with tm:
        began = time.perf_counter()
        for chunk in _chunks():
            await tm.emit_many(chunk)
        seconds = time.perf_counter() - began
    print(json.dumps({"jobs": JOBS, "seconds": seconds}), flush=True)


def _chunks() -> Iterator[list[dict[str, Any]]]:
    jobs = map(_job, range(JOBS))
    while chunk := list(islice(jobs, _CHUNK)):
        yield chunk


def _job(number: int) -> dict[str, Any]:
    job: dict[str, Any] = {"event": HANDLER, "data": {"n": number}}
    if PRIORITIES > 1:
        job["priority"] = number % PRIORITIES
    if DUE_MS:
        due_ms = DUE_MS + number * DUE_OVER_MS // JOBS
        job["data"]["due_ms"] = due_ms
        job["delay_until"] = _UNIX + timedelta(milliseconds=due_ms)
    return job


async def work() -> None:
    """Run jobs until killed."""
    await tm.run()


def main() -> None:
    """Do what the command line asks for, on uvloop where there is one."""
    mode = {"emit": emit, "work": work}[sys.argv[1]]
    with asyncio.Runner(loop_factory=fastest_loop()) as runner:
        runner.run(mode())


if __name__ == "__main__":
    main()
