"""Index the standard library of this Python: its files, lines, functions and classes.

    python examples/stdlib_index.py [--keep] [PACKAGE ...]

Every source file is a job. A worker parses the file in a thread and passes the counts to
a second job, which is added in the same step that completes the first one. So no file is
missing, even if a worker is killed at any moment. A job may run twice, so handlers write
under the name of the file: writing the same again changes nothing.

A file that does not parse is tried three times and then becomes a dead letter with its
errors. Some builds of Python come without the tests of the standard library, which have
such files. Then the installed packages are indexed as well, and three files in broken/.
As PACKAGE, these are called site-packages/NAME and broken.

In the meantime, a schedule takes a snapshot of the queue every second. There is one job
per second, although both worker processes check the schedule.

You need no Redis: the program starts a private one and stops it at the end, or with
--keep at Ctrl-C.
"""

from __future__ import annotations

import argparse
import ast
import asyncio
import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import AsyncIterator, Collection, Iterator
from itertools import chain, islice
from pathlib import Path
from typing import IO, TypedDict

from redis.asyncio import Redis
from taskmanager import Context, DeadLetter, Job, RetryPolicy, TaskManager
from taskmanager.embedded.server import EmbeddedServer

LIBRARY = Path(sysconfig.get_path("stdlib"))
INSTALLED = Path(sysconfig.get_path("purelib"))
BROKEN = Path(__file__).resolve().parent / "broken"
# Some environments have tens of thousands of files. This keeps the run below a minute.
MOST_INSTALLED = 2000
TOP_LEVEL = "(top level)"
FIRST = {"asyncio", "concurrent"}


class Source(TypedDict):
    """One file; its path is relative to LIBRARY, or absolute if it is elsewhere."""

    package: str
    file: str


class Count(TypedDict):
    lines: int
    functions: int
    classes: int


class Counted(Source, Count):
    pass


class Snapshot(TypedDict):
    """How many jobs were where at a time: two are completed for each file that parses."""

    at: str
    waiting: int
    active: int
    completed: int
    dead: int


# --- What the workers run ----------------------------------------------------------------


@contextlib.asynccontextmanager
async def lifespan() -> AsyncIterator[dict[str, Redis]]:
    """Open what the handlers of a worker process share; they find it in their ctx."""
    async with connect() as redis:
        yield {"redis": redis}


tm = TaskManager(lifespan=lifespan)

# A syntax error is there to stay, but a network drive may come back.
TWICE_MORE = RetryPolicy(max_retries=2, retry_delay_ms=200, backoff="fixed")


@tm.registerHandler(event="index-file", retry=TWICE_MORE)
def index_file(job: Job[Source], ctx: Context) -> None:
    """Parse one file. Parsing never waits, so this is a plain function and runs in a thread."""
    counted = count(LIBRARY / job.data["file"])
    # Added in the step that completes this job: both happen, or neither.
    ctx.emit("add-totals", data={**job.data, **counted}, priority=20, on_success=True)


@tm.registerHandler(event="add-totals")
async def add_totals(job: Job[Counted], ctx: Context) -> None:
    counted = {name: job.data[name] for name in ("lines", "functions", "classes")}
    await ctx.redis.hset(f"counted:{job.data['package']}", job.data["file"], json.dumps(counted))


# It has its own queue, so that it does not count itself.
@tm.registerHandler(
    event="snapshot",
    queue="snapshots",
    repeat={"pattern": "* * * * * *", "priority": 50, "overlap": "skip"},
)
async def take_snapshot(job: Job[dict[str, str]], ctx: Context) -> None:
    stats = await tm.stats("default")
    snapshot: Snapshot = {
        "at": f"{job.created_at:%H:%M:%SZ}",
        "waiting": stats.waiting,
        "active": stats.active,
        "completed": stats.completed_total,
        "dead": stats.dead,
    }
    await ctx.redis.hsetnx("snapshots", job.id, json.dumps(snapshot))


def count(path: Path) -> Count:
    source = path.read_bytes()
    nodes = list(ast.walk(ast.parse(source, path.name)))
    return {
        "lines": len(source.splitlines()),
        "functions": sum(isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef) for n in nodes),
        "classes": sum(isinstance(n, ast.ClassDef) for n in nodes),
    }


def connect() -> Redis:
    url = os.environ["TASKMANAGER_REDIS_URL"]
    # With a timeout it sends under asyncio.wait_for, which loses cancellations on Python 3.11:
    # Ctrl-C would do nothing.
    return Redis.from_url(url, decode_responses=True, socket_timeout=None)


# --- The program: emit the jobs, start the workers, show what they found ----------------


def main() -> int:
    parser = argparse.ArgumentParser(description="Index the Python standard library.")
    parser.add_argument("packages", nargs="*", metavar="PACKAGE", help="only these packages")
    parser.add_argument("--keep", action="store_true", help="keep running until Ctrl-C")
    arguments = parser.parse_args()
    sources = find_sources(arguments.packages)
    if not sources:
        parser.error(f"no source files of these packages in {LIBRARY}")
    # SIGTERM cleans up as Ctrl-C does: an event loop handles that. A shell that starts this in the
    # background may have it ignore Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda number, frame: signal.raise_signal(signal.SIGINT))
    try:
        with private_redis() as url:
            os.environ["TASKMANAGER_REDIS_URL"] = url
            with workers() as (process, log):
                letters = asyncio.run(index(sources, process, log))
                print_what_next(url, letters, keep=arguments.keep)
                if arguments.keep:
                    run_on(process)
    except KeyboardInterrupt:
        return 130
    return 0


def find_sources(packages: Collection[str]) -> list[Source]:
    """Return every source file of the packages, or of the whole library if none are given."""
    library = list(in_library())
    if packages:
        everything = chain(library, in_installed(), in_broken())
        return [it for it in everything if it["package"] in packages]
    if any(it["package"] == "test" for it in library):
        return library
    return [*library, *islice(in_installed(), MOST_INSTALLED), *in_broken()]


def in_library() -> Iterator[Source]:
    for path in sorted(LIBRARY.rglob("*.py")):
        file = path.relative_to(LIBRARY)
        installed = {"site-packages", "dist-packages"} & set(file.parts)
        if path.is_file() and not installed:
            yield {
                "package": file.parts[0] if len(file.parts) > 1 else TOP_LEVEL,
                "file": str(file),
            }


def in_installed() -> Iterator[Source]:
    for path in sorted(INSTALLED.rglob("*.py")):
        if path.is_file():
            name = path.relative_to(INSTALLED).parts[0].removesuffix(".py")
            yield {"package": f"site-packages/{name}", "file": str(path)}


def in_broken() -> Iterator[Source]:
    for path in sorted(BROKEN.glob("*.py")):
        yield {"package": "broken", "file": str(path)}


@contextlib.contextmanager
def private_redis() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="stdlib-index-") as folder:
        server = EmbeddedServer(Path(folder))
        try:
            yield server.start()
        finally:
            server.stop()


@contextlib.contextmanager
def workers() -> Iterator[tuple[subprocess.Popen[str], IO[str]]]:
    """Run two worker processes, one job at a time each: parsing keeps a processor busy."""
    command = [sys.executable, "-m", "taskmanager", "worker", "stdlib_index:tm", "-p2", "-c1"]
    with tempfile.TemporaryFile("w+") as log:
        # A new session, so that Ctrl-C reaches this process only, which then ends them.
        process = subprocess.Popen(
            command, cwd=Path(__file__).parent, stderr=log, text=True, start_new_session=True
        )
        try:
            yield process, log
        finally:
            process.terminate()
            process.wait()


async def index(
    sources: list[Source], process: subprocess.Popen[str], log: IO[str]
) -> list[DeadLetter]:
    """Emit a job a file, wait until all are done and print the table; return the dead letters."""
    started = time.monotonic()
    packages = {source["package"] for source in sources}
    async with tm, connect() as redis:
        await tm.emit_many(
            {"event": "index-file", "data": source, "priority": 10 * (source["package"] in FIRST)}
            for source in sources
        )
        progress = Progress(len(sources))
        while not progress.show(await finished(redis, packages)):
            if process.poll() is not None:
                log.seek(0)
                sys.exit(f"the workers ended with exit code {process.returncode}:\n{log.read()}")
            await show_snapshots(redis, progress)
            await asyncio.sleep(0.1)
        letters = await tm.dlq.list(limit=len(sources))
        await print_table(redis, packages)
    print_letters(letters)
    print(f"\n{len(sources):,} files in {time.monotonic() - started:.1f} s")
    return letters


async def finished(redis: Redis, packages: Collection[str]) -> int:
    """Return how many files are counted or dead."""
    async with redis.pipeline(transaction=False) as pipe:
        for package in packages:
            pipe.hlen(f"counted:{package}")
        counted: int = sum(await pipe.execute())
    return counted + (await tm.stats()).dead


async def show_snapshots(redis: Redis, progress: Progress) -> None:
    """Show the snapshots that are new; the jobs' ids are in the order of their fire times."""
    for job_id, value in sorted((await redis.hgetall("snapshots")).items()):
        it: Snapshot = json.loads(value)
        progress.note(
            job_id,
            f"snapshot {it['at']}  {it['waiting']:,} waiting, {it['active']} active, "
            f"{it['completed']:,} completed, {it['dead']} dead",
        )


class Progress:
    """A bar on a terminal, a few lines anywhere else."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.quarter = -1
        self.noted: set[object] = set()

    def show(self, done: int) -> bool:
        """Show how many files are done and return whether that is all."""
        text = f"{done:,} of {self.total:,} files"
        quarter = 4 * done // self.total
        if sys.stderr.isatty():
            bar = "#" * (40 * done // self.total)
            print(f"\r[{bar:.<40}] {text}", end="", file=sys.stderr, flush=True)
        elif quarter > self.quarter:
            self.quarter = quarter
            print(text, file=sys.stderr, flush=True)
        return done == self.total

    def note(self, key: object, text: str) -> None:
        """Show a line above the bar, once for each key."""
        if key in self.noted:
            return
        self.noted.add(key)
        start = "\r\x1b[K" if sys.stderr.isatty() else ""
        print(f"{start}{text}", file=sys.stderr, flush=True)


async def print_table(redis: Redis, packages: Collection[str]) -> None:
    line = "{:<28} {:>7,} {:>10,} {:>10,} {:>10,}".format
    print("\n{:<28} {:>7} {:>10} {:>10} {:>10}".format("package", "files", *Count.__annotations__))
    total = [0, 0, 0, 0]
    for package in sorted(packages):
        counts = [json.loads(value) for value in await redis.hvals(f"counted:{package}")]
        row = [len(counts), *(sum(c[name] for c in counts) for name in Count.__annotations__)]
        total = [a + b for a, b in zip(total, row, strict=True)]
        print(line(package, *row))
    print(line("total", *total))


def print_letters(letters: list[DeadLetter]) -> None:
    after = f" and are dead letters after {letters[0].attempts} attempts:" if letters else ""
    print(f"\n{len(letters)} files did not parse{after}")
    for letter in sorted(letters, key=lambda it: str(it.data["file"])):
        print(f"  {here(letter.data['file'])}  {letter.errors[-1]['error']}")


def print_what_next(url: str, letters: list[DeadLetter], *, keep: bool) -> None:
    """Print commands that work as is, in this folder and with this Python."""
    python = here(sys.executable)
    if not keep:
        print("\nTo keep Redis and the workers running, so that you can inspect them:")
        print(" ", shlex.join([python, here(sys.argv[0]), "--keep", *sys.argv[1:]]))
        return
    commands = [["queues", "ls"], ["dlq", "ls"]]
    if letters:
        commands += [["dlq", "show", letters[0].id], ["dlq", "replay", letters[0].id]]
    commands.append(["schedules", "ls"])
    print("\nRedis and the workers keep running until Ctrl-C. In another terminal, try:")
    print(f"  export TASKMANAGER_REDIS_URL={shlex.quote(url)}")
    for command in commands:
        print(" ", shlex.join([python, "-m", "taskmanager", *command]))
    sys.stdout.flush()


def here(path: str) -> str:
    """Return a path as it is typed in the current folder."""
    return os.path.relpath(path) if Path(path).is_relative_to(Path.cwd()) else path


def run_on(process: subprocess.Popen[str]) -> None:
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(f"the workers ended with exit code {process.wait()}")


if __name__ == "__main__":
    sys.exit(main())
