"""Index the standard library of this Python: its files, lines, functions and classes.

    python examples/stdlib_index.py [PACKAGE ...]

Every source file is a job. A worker parses it in a thread and hands what it
counted to a second job, which is added in the same step that acknowledges the
first: a worker may be killed at any moment and no file will be missing. A job
may run twice, so handlers write under the name of the file: writing it again
changes nothing.

It needs no Redis: it starts a private one and stops it at the end.
"""

from __future__ import annotations

import argparse
import ast
import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import AsyncIterator, Collection, Iterator
from pathlib import Path
from typing import IO, TypedDict

from redis.asyncio import Redis

from taskmanager import Context, Job, TaskManager
from taskmanager.embedded import EmbeddedServer

LIBRARY = Path(sysconfig.get_path("stdlib"))
TOP_LEVEL = "(top level)"
FIRST = {"asyncio", "concurrent"}


class Source(TypedDict):
    """One file; its path is relative to LIBRARY."""

    package: str
    file: str


class Count(TypedDict):
    lines: int
    functions: int
    classes: int


class Counted(Source, Count):
    pass


class Unparsed(Source):
    error: str


# --- What the workers run ----------------------------------------------------------------


@contextlib.asynccontextmanager
async def lifespan() -> AsyncIterator[dict[str, Redis]]:
    """Open what the handlers of a worker process share; they find it in their ctx."""
    async with connect() as redis:
        yield {"redis": redis}


tm = TaskManager(lifespan=lifespan)


@tm.registerHandler(event="index-file")
def index_file(job: Job[Source], ctx: Context) -> None:
    """Parse one file. Parsing never waits, so this is a plain function and runs in a thread."""
    try:
        counted = count(LIBRARY / job.data["file"])
    except Exception as error:
        # Emitted at once: it will be noted although this job fails and becomes a dead letter.
        ctx.emit("note-unparsed", data={**job.data, "error": one_line(error)}, priority=20)
        raise
    # Emitted with the acknowledgement of this job: both happen, or neither.
    ctx.emit("add-totals", data={**job.data, **counted}, priority=20, on_success=True)


@tm.registerHandler(event="add-totals")
async def add_totals(job: Job[Counted], ctx: Context) -> None:
    counted = {name: job.data[name] for name in ("lines", "functions", "classes")}
    await ctx.redis.hset(f"counted:{job.data['package']}", job.data["file"], json.dumps(counted))


@tm.registerHandler(event="note-unparsed")
async def note_unparsed(job: Job[Unparsed], ctx: Context) -> None:
    await ctx.redis.hset("unparsed", job.data["file"], job.data["error"])


def count(path: Path) -> Count:
    source = path.read_bytes()
    nodes = list(ast.walk(ast.parse(source, path.name)))
    return {
        "lines": len(source.splitlines()),
        "functions": sum(isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef) for n in nodes),
        "classes": sum(isinstance(n, ast.ClassDef) for n in nodes),
    }


def one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def connect() -> Redis:
    return Redis.from_url(os.environ["TASKMANAGER_REDIS_URL"], decode_responses=True)


# --- The program: emit the jobs, start the workers, show what they found ----------------


def main() -> int:
    parser = argparse.ArgumentParser(description="Index the Python standard library.")
    parser.add_argument("packages", nargs="*", metavar="PACKAGE", help="only these packages")
    sources = find_sources(parser.parse_args().packages)
    if not sources:
        parser.error(f"no source files of these packages in {LIBRARY}")
    # Being terminated cleans up just as Ctrl-C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with private_redis() as url:
            os.environ["TASKMANAGER_REDIS_URL"] = url
            asyncio.run(index(sources))
    except KeyboardInterrupt:
        return 130
    return 0


def find_sources(packages: Collection[str]) -> list[Source]:
    """Return every source file of the packages; of the whole library when there are none."""
    found: list[Source] = []
    for path in sorted(LIBRARY.rglob("*.py")):
        file = path.relative_to(LIBRARY)
        package = file.parts[0] if len(file.parts) > 1 else TOP_LEVEL
        installed = {"site-packages", "dist-packages"} & set(file.parts)
        if path.is_file() and not installed and (not packages or package in packages):
            found.append({"package": package, "file": str(file)})
    return found


@contextlib.contextmanager
def private_redis() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="stdlib-index-") as folder:
        server = EmbeddedServer(Path(folder))
        try:
            yield server.start()
        finally:
            server.stop()


async def index(sources: list[Source]) -> None:
    started = time.monotonic()
    packages = {source["package"] for source in sources}
    async with tm, connect() as redis:
        await tm.emit_many(
            {"event": "index-file", "data": source, "priority": 10 * (source["package"] in FIRST)}
            for source in sources
        )
        with workers() as (process, log):
            progress = Progress(len(sources))
            while not progress.show(await finished(redis, packages)):
                if process.poll() is not None:
                    log.seek(0)
                    sys.exit(
                        f"the workers ended with exit code {process.returncode}:\n{log.read()}"
                    )
                await asyncio.sleep(0.1)
        await print_table(redis, packages)
    print(f"\n{len(sources):,} files in {time.monotonic() - started:.1f} s")


@contextlib.contextmanager
def workers() -> Iterator[tuple[subprocess.Popen[str], IO[str]]]:
    """Run two worker processes, one slot each: parsing is all work and no waiting."""
    command = [sys.executable, "-m", "taskmanager", "worker", "stdlib_index:tm", "-p2", "-c1"]
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(command, cwd=Path(__file__).parent, stderr=log, text=True)
        try:
            yield process, log
        finally:
            process.terminate()
            process.wait()


async def finished(redis: Redis, packages: Collection[str]) -> int:
    async with redis.pipeline(transaction=False) as pipe:
        for key in ("unparsed", *(f"counted:{package}" for package in packages)):
            pipe.hlen(key)
        return sum(await pipe.execute())


class Progress:
    """A bar on a terminal, a few lines anywhere else."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.quarter = -1

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
    unparsed = await redis.hgetall("unparsed")
    print(f"\n{len(unparsed)} files did not parse")
    for file, error in sorted(unparsed.items()):
        print("", file, error, sep="  ")


if __name__ == "__main__":
    sys.exit(main())
