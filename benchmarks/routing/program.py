"""Emit and run the jobs of a fleet whose workers may not run every job.

    python -m benchmarks.routing.program emit|emit-bulk|work

The environment has what contenders are given, and beside that:

    BENCH_DISCIPLINE   how jobs are handed out, a name of benchmarks.routing.fleet
    BENCH_PROCESS      the number of a worker process, from 0
    BENCH_WORKERS      how many workers are in each worker process
    BENCH_PREFETCH     how many jobs a worker may hold beside those that run; it decides
    BENCH_SERVICES     the distribution of the service times, a name of benchmarks.routing.traffic
    BENCH_MEAN_S       their mean, in seconds
    BENCH_LOAD         the share of the slots that the jobs keep busy
    BENCH_SEED         the seed of all that is drawn
    BENCH_EMITS        the file that is to have the emits

The handler serve sleeps its service time and leaves a line of its run; noop leaves a byte. A
worker that is to serve leaves a line when it has started.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from benchmarks.loops import fastest_loop
from benchmarks.routing.fleet import (
    DISCIPLINES,
    EVENT,
    PROCESSES,
    QUEUE,
    SLOTS,
    WORKERS,
    Place,
    capabilities_of,
)
from benchmarks.routing.runs import UNMEASURED, Emit, NewRuns, Run, write_emits
from benchmarks.routing.traffic import SERVICES, traffic
from consumers.connections.connector import Connector
from consumers.consumer import Consumer
from consumers.emit.producer import Producer
from consumers.jobs.envelope import NewJob
from consumers.jobs.job import Job
from consumers.policy import Handler
from processors.processor import Processor

# Workers hear of a new lane at once, but a hint may be lost: after this they have looked.
_LANES_ARE_KNOWN_S = 3.0
_TIMEOUT_S = 30.0

DISCIPLINE = DISCIPLINES[os.environ["BENCH_DISCIPLINE"]]
URL = os.environ["BENCH_URL"]
MARKS = Path(os.environ["BENCH_MARK"])
JOBS = int(os.environ.get("BENCH_JOBS", 1_000))

_marks = os.open(MARKS, os.O_WRONLY | os.O_APPEND | os.O_CREAT)


async def work() -> None:
    """Run the workers of one process until killed."""
    count = int(os.environ.get("BENCH_WORKERS", WORKERS // PROCESSES))
    begin = int(os.environ["BENCH_PROCESS"]) * count
    for number in range(begin, begin + count):
        await _worker(number).start()
        if os.environ["BENCH_HANDLER"] == EVENT:
            os.write(_marks, Run(UNMEASURED, number, 0.0, 0.0).line)
    await asyncio.Event().wait()


def _worker(number: int) -> Consumer:
    async def serve(job: Job[dict[str, Any]]) -> None:
        began = time.monotonic()
        await asyncio.sleep(job.data["s"])
        os.write(_marks, Run(job.data["n"], number, began, time.monotonic()).line)

    async def noop(job: Job[dict[str, Any]]) -> None:
        os.write(_marks, b"x")

    prefetch = os.environ.get("BENCH_PREFETCH")
    return Consumer(
        URL,
        policy=Processor({(QUEUE, EVENT): Handler.of(serve), (QUEUE, "noop"): Handler.of(noop)}),
        queues=[QUEUE],
        name=f"worker-{number}",
        type=DISCIPLINE.type_of(number),
        capabilities=capabilities_of(number),
        concurrency=int(os.environ.get("BENCH_SLOTS", SLOTS)),
        prefetch=None if prefetch is None else int(prefetch),
    )


async def emit() -> None:
    """Emit jobs one by one, each when it is due; print how many seconds that took."""
    async with _producer() as producer:
        await _let_lanes_be_known(producer)
        began = time.monotonic()
        emits = await _Source(producer).emit_all()
    write_emits(Path(os.environ["BENCH_EMITS"]), emits)
    _say(time.monotonic() - began)


class _Source:
    """Emits the jobs of the traffic, and counts those that each worker has."""

    def __init__(self, producer: Producer) -> None:
        self._producer = producer
        rng = random.Random(int(os.environ["BENCH_SEED"]))
        self._choose = DISCIPLINE.choice and DISCIPLINE.choice(rng)
        self._jobs = [0] * WORKERS
        self._ended = NewRuns(MARKS)
        self._places = DISCIPLINE.places(EVENT)

    async def emit_all(self) -> list[Emit]:
        """Return when each job was emitted."""
        began = time.monotonic()
        emits, answers = [], []
        for number, (due, service, route) in enumerate(_traffic()):
            await asyncio.sleep(began + due - time.monotonic())
            place = self._place(route)
            emits.append(Emit(began + due, time.monotonic(), route))
            answers.append(self._producer.emit(_job(number, service, place)))
        await asyncio.gather(*answers)
        return emits

    def _place(self, route: int) -> Place:
        if self._choose is None:
            return self._places[route]
        for run in self._ended:
            self._jobs[run.worker] -= run.number != UNMEASURED
        worker = self._choose(self._jobs, DISCIPLINE.fleet.may_run[route])
        self._jobs[worker] += 1
        return self._places[worker]


def _traffic() -> Any:
    fleet = DISCIPLINE.fleet
    return traffic(
        SERVICES[os.environ["BENCH_SERVICES"]],
        JOBS,
        seed=int(os.environ["BENCH_SEED"]),
        servers=fleet.workers * fleet.slots,
        load=float(os.environ["BENCH_LOAD"]),
        mean=float(os.environ["BENCH_MEAN_S"]),
        routes=len(fleet.may_run),
    )


async def emit_bulk() -> None:
    """Emit jobs in bulk that the first worker may run; print how many seconds that took."""
    pairs = zip(DISCIPLINE.places("noop"), DISCIPLINE.fleet.may_run, strict=True)
    places = [place for place, may_run in pairs if 0 in may_run]
    jobs = [NewJob(f"j{it}", "noop", b"{}", *places[it % len(places)]) for it in range(JOBS)]
    async with _producer() as producer:
        began = time.monotonic()
        for chunk in producer.emit_all(jobs):
            await chunk.answers
        _say(time.monotonic() - began)


async def _let_lanes_be_known(producer: Producer) -> None:
    """Emit a job to each place, and wait until every worker reads its lane."""
    jobs = [
        _job(UNMEASURED, 0.001, it, f"first-{n}") for n, it in enumerate(DISCIPLINE.places(EVENT))
    ]
    await asyncio.gather(*map(producer.emit, jobs))
    await asyncio.sleep(_LANES_ARE_KNOWN_S)


def _job(number: int, service: float, place: Place, id_: str = "") -> NewJob:
    data = b'{"n":%d,"s":%.6f}' % (number, service)
    return NewJob(id_ or f"j{number}", EVENT, data, *place)


@contextlib.asynccontextmanager
async def _producer() -> AsyncIterator[Producer]:
    producer = Producer(Connector.of(URL), emit_timeout=_TIMEOUT_S)
    try:
        yield producer
    finally:
        await producer.close()


def _say(seconds: float) -> None:
    print(json.dumps({"jobs": JOBS, "seconds": seconds}), flush=True)


def main() -> None:
    """Do what the command line asks for, on uvloop where there is one."""
    mode = {"emit": emit, "emit-bulk": emit_bulk, "work": work}[sys.argv[1]]
    with asyncio.Runner(loop_factory=fastest_loop()) as runner:
        runner.run(mode())


if __name__ == "__main__":
    main()
