"""Where measurements happen: a server, a folder, and the programs of contenders in it."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.failures import Failed, Unable
from benchmarks.marks import Marks, Moment
from benchmarks.meter import Reading
from benchmarks.roster import ROOT, Contender
from benchmarks.sizing import Sizes
from tests.support.processes import Child
from tests.support.servers import Binary, RedisServer

# How a contender exits that has no way to do what it was asked for.
CANNOT = 64
# The slowest of all emits 200 jobs a second.
_EMIT_SECONDS = 60.0
_EMIT_SECONDS_A_JOB = 1 / 200
_FIRST_MARK_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Crew:
    """Worker processes that are running, and their marks."""

    members: Sequence[Child]
    marks: Marks

    def first(self) -> Moment:
        """Return when the first mark was seen."""
        return self.until(1, within=_FIRST_MARK_SECONDS)

    def until(self, count: int, *, within: float, lines: bool = False) -> Moment:
        """Return when so many marks were seen; Failed after within seconds, or when one ended."""
        moment = self.marks.until(count, within=within, check=self._check, lines=lines)
        if moment.count < count:
            what = f"{moment.count:,} of {count:,} jobs were done after {within:.0f} s"
            raise Failed(what, self._output())
        return moment

    def stop(self) -> None:
        """Ask all to end, and wait until they have."""
        for member in self.members:
            member.terminate()
        for member in self.members:
            member.wait(_FIRST_MARK_SECONDS)

    @property
    def leaders(self) -> list[int]:
        """The process ids, each of which leads a session of its own."""
        return [member.pid for member in self.members]

    def _check(self) -> None:
        ended = [member for member in self.members if not member.running]
        if any(member.wait() == CANNOT for member in ended):
            raise Unable(self._output())
        if ended:
            raise Failed("a worker process has ended by itself", self._output())

    def _output(self) -> str:
        return "\n".join(member.text for member in self.members)


@dataclass(frozen=True)
class Setting:
    """A server of our own and a folder for marks and output; programs are run against them."""

    server: RedisServer
    aof_server: RedisServer
    folder: Path
    sizes: Sizes
    # Counts from 1; workloads that draw something have it for a seed.
    round: int = 1

    @property
    def quick(self) -> bool:
        return self.sizes.quick

    def on_aof(self) -> Setting:
        """Return the same setting with the server that writes each second to its disk."""
        return replace(self, server=self.aof_server)

    def clean(self) -> None:
        """Make the server like new: empty, without clients, scripts and figures of before."""
        self.server.reset()

    def read(self, crew: Crew | None = None) -> Reading:
        """Read what has been spent so far, by a crew as well."""
        with self.server.client() as client:
            return Reading.now(client, crew.leaders if crew else ())

    def emit(
        self,
        who: Contender,
        mode: str,
        jobs: int,
        handler: str = "noop",
        env: Mapping[str, str] | None = None,
    ) -> float:
        """Let a contender emit so many jobs; return the seconds that it says it took."""
        named = {"BENCH_JOBS": str(jobs), "BENCH_HANDLER": handler, **(env or {})}
        child = self._start(who, mode, f"emit-{who.name}", named)
        try:
            return _seconds(child, within=_EMIT_SECONDS + jobs * _EMIT_SECONDS_A_JOB)
        finally:
            child.end()

    @contextlib.contextmanager
    def crew(
        self,
        who: Contender,
        slots: int,
        handler: str = "noop",
        *,
        processes: int = 1,
        env: Mapping[str, str] | None = None,
    ) -> Iterator[Crew]:
        """Run worker processes of a contender, killed at the end; marks are counted from 0."""
        named = {"BENCH_SLOTS": str(slots), "BENCH_HANDLER": handler, **(env or {})}
        with contextlib.ExitStack() as undo:
            marks = Marks(self._mark_file)
            members = []
            for index in range(processes):
                numbered = {**named, "BENCH_PROCESS": str(index)}
                members.append(self._start(who, "work", f"work-{who.name}-{index}", numbered))
                undo.callback(members[-1].end)
            yield Crew(members, marks)

    @property
    def _mark_file(self) -> Path:
        return self.folder / "marks"

    def _start(self, who: Contender, mode: str, name: str, env: Mapping[str, str]) -> Child:
        own = {"BENCH_URL": self.server.url, "BENCH_MARK": str(self._mark_file)}
        return Child(
            [*who.command, mode],
            output=self.folder / f"{name}.log",
            cwd=ROOT,
            env={**who.env, **own, **env},
        )


@contextlib.contextmanager
def prepare(binary: Binary, sizes: Sizes, *, pin: bool) -> Iterator[Setting]:
    """Start both servers, stop them at the end. With pin they may use the last core only."""
    plain = RedisServer(binary)
    aof = RedisServer(binary, appendonly="yes", appendfsync="everysec")
    with contextlib.ExitStack() as undo:
        folder = undo.enter_context(tempfile.TemporaryDirectory(prefix="tm-bench-"))
        for server in (plain, aof):
            undo.callback(server.stop)
            server.start()
            if pin:
                os.sched_setaffinity(server.pid, {max(os.sched_getaffinity(0))})
        yield Setting(plain, aof, Path(folder), sizes)


def _seconds(child: Child, *, within: float) -> float:
    try:
        code = child.wait(within)
    except AssertionError:
        raise Failed(f"it was still emitting after {within:.0f} s", child.text) from None
    if code == CANNOT:
        raise Unable(child.text)
    if code:
        raise Failed(f"emitting ended with exit code {code}", child.text)
    lines = [line for line in child.text.splitlines() if line.startswith("{")]
    if not lines:
        raise Failed("emitting ended without saying how long it took", child.text)
    return float(json.loads(lines[-1])["seconds"])
