"""Serve the requests to two language models with workers that can run one of them, or both.

    python examples/llm_fleet.py [--minutes N]

The requests are real: 20 minutes of a trace from Microsoft Azure (CC BY 4.0, see
benchmarks/azure_llm), played 60 times faster. A handler sleeps for as long as a model would
take for the tokens, and each job requires the capability of its model.

There are 8 workers of 3 kinds, each started with the command in WORKERS. Redis hands a job
to the first worker that is free and may run it, as if there were one queue for all. Halfway,
one worker is killed with SIGKILL. Its running jobs start again elsewhere when their lease
is over, and nothing else changes for the others.

At the end you see how long jobs of each model waited, beside the ideal: what they would have
waited if every free worker had known at once what to run. Then you see which worker ran what.

You need no Redis: the program starts a private one and stops it at the end.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import csv
import heapq
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from itertools import islice, takewhile
from pathlib import Path
from typing import NamedTuple, TypedDict

from taskmanager import Job, TaskManager
from taskmanager.embedded.server import EmbeddedServer

TRACE = Path(__file__).resolve().parents[1] / "benchmarks" / "azure_llm" / "requests.csv"
FASTER = 60
# How long a model takes: 10,000 tokens of context per second, and 50 tokens of its answer.
A_CONTEXT_TOKEN, AN_ANSWER_TOKEN, OVERHEAD = 0.0001, 0.02, 0.02
SLOTS = 7
# By the name of each worker, what it can do.
WORKERS = {
    **{f"code-{number}": ["code"] for number in (1, 2)},
    **{f"chat-{number}": ["conversation"] for number in (1, 2, 3, 4)},
    **{f"both-{number}": ["code", "conversation"] for number in (1, 2)},
}
KILLED = "chat-1"
# Seconds. A job whose worker is killed starts again when its lease is over.
LEASE = 2.0


class Request(TypedDict):
    number: int
    seconds: float


class Arrival(NamedTuple):
    """A request of the trace: when it comes, for which model, and how long an answer takes."""

    at: float
    model: str
    seconds: float


class Run(NamedTuple):
    """A run of a request: by which worker, and when it began."""

    number: int
    worker: str
    began: float


# --- What the workers run ----------------------------------------------------------------

tm = TaskManager(lease=LEASE, result_ttl=60)


@tm.registerHandler(event="answer")
async def answer(job: Job[Request]) -> None:
    """Sleep for as long as the model would take, and note when that began."""
    note(Run(job.data["number"], job.worker, time.time()))
    await asyncio.sleep(job.data["seconds"])


def note(run: Run) -> None:
    """Append a run to a file that all workers write to: they are on one machine here."""
    with Path(os.environ["LLM_FLEET_RUNS"]).open("a") as runs:
        runs.write(f"{run.number} {run.worker} {run.began}\n")


# --- The program: start the workers, emit the requests, show who ran them ------------------


def main() -> None:
    parser = argparse.ArgumentParser(description="Serve the requests to two language models.")
    parser.add_argument(
        "--minutes", type=int, choices=range(1, 21), default=20, metavar="N", help="of the trace"
    )
    arrivals = read_trace(parser.parse_args().minutes)
    with tempfile.TemporaryDirectory(prefix="llm-fleet-") as name, private_redis(name) as url:
        runs = Path(name) / "runs"
        os.environ |= {"TASKMANAGER_REDIS_URL": url, "LLM_FLEET_RUNS": str(runs)}
        with workers() as processes:
            emitted, killed = asyncio.run(serve(arrivals, processes))
        print_results(arrivals, emitted, read_runs(runs), killed)


def read_trace(minutes: int) -> list[Arrival]:
    """Return the first minutes of the trace, with all times in seconds of this program."""
    with TRACE.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if int(row["ms"]) < minutes * 60_000]
    return [
        Arrival(int(row["ms"]) / 1000 / FASTER, row["service"], model_seconds(row) / FASTER)
        for row in rows
    ]


def model_seconds(row: dict[str, str]) -> float:
    tokens = A_CONTEXT_TOKEN * int(row["context"]) + AN_ANSWER_TOKEN * int(row["generated"])
    return OVERHEAD + tokens


@contextlib.contextmanager
def private_redis(folder: str) -> Iterator[str]:
    server = EmbeddedServer(Path(folder))
    try:
        yield server.start()
    finally:
        server.stop()


@contextlib.contextmanager
def workers() -> Iterator[dict[str, subprocess.Popen[bytes]]]:
    """Run each worker as a separate process, and return them by name."""
    with contextlib.ExitStack() as undo:
        processes = {}
        log = undo.enter_context(tempfile.TemporaryFile())
        for name, capabilities in WORKERS.items():
            command = worker_command(name, capabilities)
            processes[name] = subprocess.Popen(
                [sys.executable, *command], cwd=Path(__file__).parent, stderr=log
            )
            undo.callback(processes[name].wait)
            undo.callback(processes[name].terminate)
        print("8 workers, for example:", shlex.join(["python", *worker_command(*example())]))
        try:
            yield processes
        except Exception:
            log.seek(0)
            sys.stderr.buffer.write(log.read())
            raise


def example() -> tuple[str, list[str]]:
    return "both-1", WORKERS["both-1"]


def worker_command(name: str, capabilities: Sequence[str]) -> list[str]:
    """Return the command that starts a worker. It holds no job beside those that run."""
    command = ["-m", "taskmanager", "worker", "llm_fleet:tm", "--name", name]
    command += ["-c", str(SLOTS), "--prefetch", "0", "--quiet"]
    return [*command, "--capability", ",".join(capabilities)]


async def serve(
    arrivals: Sequence[Arrival], processes: dict[str, subprocess.Popen[bytes]]
) -> tuple[list[float], float]:
    """Emit every request when it comes; return when each was emitted, and when one was killed."""
    async with tm:
        await all_have_started()
        print(f"{len(arrivals):,} requests in {arrivals[-1].at:.0f} s; {KILLED} dies halfway")
        kill = asyncio.create_task(kill_at(arrivals[-1].at / 2, processes[KILLED]))
        emitted = await emit_all(arrivals)
        await tm.drain()
        return emitted, await kill


async def all_have_started() -> None:
    """Let each worker run a job that no other may run."""
    first: Request = {"number": -1, "seconds": 0.0}
    handles = [await tm.emit("answer", data=first, id=name, only=[name]) for name in WORKERS]
    for handle in handles:
        await handle.result(timeout=60)


async def emit_all(arrivals: Sequence[Arrival]) -> list[float]:
    """Emit every request when it is due, and those that are due together in one call."""
    emitted: list[float] = []
    began = time.time()
    while len(emitted) < len(arrivals):
        first = len(emitted)
        await asyncio.sleep(began + arrivals[first].at - time.time())
        now = time.time()
        due = takewhile(lambda it: it.at <= now - began, islice(arrivals, first + 1, None))  # noqa: B023
        jobs = [job(number, it) for number, it in enumerate([arrivals[first], *due], start=first)]
        await tm.emit_many(jobs)
        emitted += [now] * len(jobs)
    return emitted


def job(number: int, request: Arrival) -> dict[str, object]:
    """Return the emit of a request: only workers with its model may run it."""
    data = {"number": number, "seconds": request.seconds}
    return {"event": "answer", "data": data, "requires": [request.model]}


async def kill_at(seconds: float, process: subprocess.Popen[bytes]) -> float:
    """Kill a worker, after some seconds; return when that was."""
    await asyncio.sleep(seconds)
    process.send_signal(signal.SIGKILL)
    return time.time()


def read_runs(path: Path) -> list[Run]:
    lines = (line.split() for line in path.read_text().splitlines())
    runs = [Run(int(number), worker, float(began)) for number, worker, began in lines]
    return [run for run in runs if run.number >= 0]


# --- What came of it, and the ideal ---------------------------------------------------------


def print_results(
    arrivals: Sequence[Arrival], emitted: Sequence[float], runs: Sequence[Run], killed: float
) -> None:
    first: dict[int, Run] = {}
    for run in runs:
        first.setdefault(run.number, run)
    waits = [first[number].began - at for number, at in enumerate(emitted)]
    ideal = ideal_waits(arrivals, emitted, killed)
    print(f"\n{'model':<14}{'requests':>10}{'p50 wait':>12}{'p99 wait':>12}{'ideal p99':>12}")
    for model in ("code", "conversation"):
        its = [number for number, it in enumerate(arrivals) if it.model == model]
        real, best = sorted(waits[it] for it in its), sorted(ideal[it] for it in its)
        shown = (ms(share(real, 0.5)), ms(share(real, 0.99)), ms(share(best, 0.99)))
        print(f"{model:<14}{len(its):>10,}{shown[0]:>12}{shown[1]:>12}{shown[2]:>12}")
    print(f"\n{'worker':<14}{'code':>10}{'conversation':>16}")
    ran = Counter((run.worker, arrivals[run.number].model) for run in runs)
    for name in WORKERS:
        code, conversation = ran[name, "code"], ran[name, "conversation"]
        print(f"{name:<14}{code or '-':>10}{conversation or '-':>16}")
    print_killed(runs, first, killed)


def print_killed(runs: Sequence[Run], first: dict[int, Run], killed: float) -> None:
    again = [run for run in runs if run is not first[run.number]]
    after = (
        f", the last of them {max(it.began for it in again) - killed:.1f} s later" if again else ""
    )
    print(f"\n{len(again)} requests ran on {KILLED} when it was killed. Others ran them{after}.")


def ideal_waits(
    arrivals: Sequence[Arrival], emitted: Sequence[float], killed: float
) -> list[float]:
    """Return how long each request waits if every free slot knows at once what to run."""
    waits, ends = [0.0] * len(arrivals), list[tuple[float, str]]()
    free = dict.fromkeys(WORKERS, SLOTS)
    waiting: dict[str, deque[int]] = {"code": deque(), "conversation": deque()}

    def begin(number: int, worker: str, now: float) -> None:
        waits[number] = now - emitted[number]
        heapq.heappush(ends, (now + arrivals[number].seconds, worker))

    def end_until(time: float) -> None:
        while ends and ends[0][0] <= time:
            now, worker = heapq.heappop(ends)
            oldest = [it for model in WORKERS[worker] if (it := waiting[model])]
            if worker == KILLED and now >= killed:
                free[worker] = 0
            elif oldest:
                begin(min(oldest).popleft(), worker, now)
            else:
                free[worker] += 1

    for number, at in enumerate(emitted):
        end_until(at)
        model = arrivals[number].model
        able = [it for it, models in WORKERS.items() if model in models and free[it]]
        able = [it for it in able if it != KILLED or at < killed]
        if able:
            worker = max(able, key=free.__getitem__)
            free[worker] -= 1
            begin(number, worker, at)
        else:
            waiting[model].append(number)
    end_until(float("inf"))
    return waits


def share(ordered: Sequence[float], part: float) -> float:
    """Return the value that a part of the ordered values does not exceed."""
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]


def ms(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms"


if __name__ == "__main__":
    main()
