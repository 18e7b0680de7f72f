"""One run: a server, twelve workers behind proxies, a producer, and a fault with each batch."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import json
import random
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import redis as redis_py

from consumers.connections.connector import Connector
from consumers.emit.producer import Producer
from consumers.jobs.envelope import NewJob
from consumers.store.keys import Keys
from tests.chaos import mutants, snapshot
from tests.chaos.actors import Actor
from tests.chaos.nemesis import Nemesis
from tests.chaos.plan import Step
from tests.chaos.routing.faults import Faults
from tests.chaos.routing.verdict import Verdict, judge
from tests.chaos.routing.world import EVENTS, HERE, QUEUES, World
from tests.support.oracle import Recorder, read_records
from tests.support.processes import Child, Spawner
from tests.support.proxy import FaultProxy
from tests.support.queue import Queue
from tests.support.servers import Binary, RedisServer

PRODUCER = "producer"
LEASE = 2.0
_BATCH = 50
# As many jobs may be under way before the next batch comes.
_MOST_UNDER_WAY = 600
_TICK = 0.02
_START_PATIENCE = 120.0
_EMIT_TIMEOUT = 120.0
# Without anything that ends for so long (s) nothing will come any more.
_STUCK_AFTER = 60.0
_STOP_PATIENCE = 30.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What to run: so many jobs are emitted, and a fault begins with each fifty of them."""

    binary: Binary
    seed: int
    jobs: int
    mutant: str = ""


def run(what: Plan, folder: Path) -> Verdict:
    """Run it; what the processes write stays in the folder."""
    with ExitStack() as stack:
        rig = Rig(what, folder, stack)
        rig.start()
        asyncio.run(rig.storm())
        return rig.end()


class Rig:
    """The stage of a run. What it opens is closed with the stack."""

    def __init__(self, what: Plan, folder: Path, stack: ExitStack) -> None:
        self.plan = what
        self.world = World(what.seed)
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.recorder = Recorder(folder / "records", "rig")
        self.server = RedisServer(what.binary).start()
        stack.callback(self.server.stop)
        self._spawner = Spawner(folder)
        self.actors = {name: self._actor(name, stack) for name in (*self.world.workers, PRODUCER)}
        stack.callback(self._spawner.end)
        self.nemesis = Nemesis(self.server, self.actors, self.recorder, mutants.scripts())
        dice = random.Random(what.seed)
        self._faults = Faults(dice, self.world.workers, LEASE)
        self._due: list[tuple[float, int, Step]] = []
        self._numbers = itertools.count()
        self._expected: dict[tuple[str, str], int] = {}
        self._refused: list[str] = []
        self.faults = 0

    def start(self) -> None:
        """Start the workers."""
        workers = [self.actors[name] for name in self.world.workers]
        for worker in workers:
            worker.start()
            worker.tend()
        for worker in workers:
            assert worker.child is not None
            worker.child.wait_for_line("started", _START_PATIENCE)

    async def storm(self) -> None:
        """Emit all jobs, with a fault for each batch, and wait until nothing is left to do."""
        connector = Connector.of(self.actors[PRODUCER].proxy.url)
        producer = Producer(connector, emit_timeout=_EMIT_TIMEOUT)
        emits: list[asyncio.Task[None]] = []
        try:
            for batch in _batches(self.world.jobs(self.plan.jobs)):
                self._begin_fault()
                emits.append(asyncio.create_task(self._emit(producer, batch)))
                self._expect(batch)
                while self._under_way() > _MOST_UNDER_WAY:
                    await self._tend()
            while self._due or not all(it.done() for it in emits):
                await self._tend()
            self._heal()
            await asyncio.gather(*emits)
            await self._drain()
        finally:
            await producer.close()

    def end(self) -> Verdict:
        """Stop everything, and compare what was written down with what Redis holds."""
        for name in self.world.workers:
            self.actors[name].terminate()
        for name in self.world.workers:
            if wrong := self.actors[name].stop(_STOP_PATIENCE):
                self.recorder.note("died", on=name, detail=wrong)
        with self._client() as client:
            return judge(
                self.world,
                read_records(self.recorder.folder),
                snapshot.take(client),
                {queue: client.hgetall(Keys(queue).routes) for queue in QUEUES},
                expected=self._expected,
                refused=self._refused,
                faults=self.faults,
            )

    # Emits

    def _expect(self, batch: Sequence[tuple[NewJob, int]]) -> None:
        for job, _ in batch:
            self._expected[job.lane.queue, job.id] = 1
            if child := json.loads(job.data).get("child"):
                self._expected[child["queue"], child["id"]] = 1

    async def _emit(self, producer: Producer, batch: Sequence[tuple[NewJob, int]]) -> None:
        emits = [producer.emit(job) for job, _ in batch]
        for end in await asyncio.gather(*emits, return_exceptions=True):
            if isinstance(end, BaseException):
                self._refused.append(repr(end))

    def _under_way(self) -> int:
        return len(self._expected) - self._completed()

    def _completed(self) -> int:
        with self._client() as client:
            return sum(int(client.hget(Keys(it).stats, "completed") or 0) for it in QUEUES)

    async def _drain(self) -> None:
        before, changed = None, time.monotonic()
        while time.monotonic() - changed < _STUCK_AFTER:
            await self._tend()
            with self._client() as client:
                now = snapshot.left(client)
            if not now:
                return
            if now != before:
                before, changed = now, time.monotonic()
            await asyncio.sleep(0.2)

    # Faults

    def _begin_fault(self) -> None:
        self.faults += 1
        now = time.monotonic()
        for step in self._faults.draw():
            heapq.heappush(self._due, (now + step.at, next(self._numbers), step))

    async def _tend(self) -> None:
        """Carry out what is due, and start the workers that are to run."""
        while self._due and self._due[0][0] <= time.monotonic():
            self._do(heapq.heappop(self._due)[2])
        self.nemesis.tend()
        await asyncio.sleep(_TICK)

    def _do(self, step: Step) -> None:
        match step.act:
            case "become":
                self._become(step.on, step.word.split(",") if step.word else [])
            case "pause-event" | "resume-event":
                self._pause(step.word or None, pauses=step.act == "pause-event")
            case "forget-routes":
                with self._client() as client:
                    client.delete(Keys(HERE).routes)
            case _:
                self.nemesis.do(step)
                return
        self.recorder.note("fault", detail=f"{step.act} {step.word}", on=step.on)

    def _become(self, name: str, can: Sequence[str]) -> None:
        path = self._folder / f"{name}.can"
        written = path.with_suffix(".new")
        written.write_text(json.dumps(can))
        written.replace(path)

    def _pause(self, event: str | None, *, pauses: bool) -> None:
        with self.server.client() as client:
            queue = Queue(client, HERE)
            _ = queue.pause(event) if pauses else queue.resume(event)

    def _heal(self) -> None:
        self.nemesis.heal()
        for event in (None, *EVENTS):
            self._pause(event, pauses=False)
        for worker in self.world.workers.values():
            self._become(worker.name, worker.capabilities)
            self.actors[worker.name].start()

    # Starting

    def _actor(self, name: str, stack: ExitStack) -> Actor:
        proxy = stack.enter_context(FaultProxy(self.server.port))
        return Actor(name, proxy, lambda start: self._worker(name, proxy.url))

    def _worker(self, name: str, url: str) -> Child:
        return self._spawner.python(
            "-m", "tests.chaos.routing.worker", str(self._folder), name, url, f"{LEASE:g}",
            *filter(None, [self.plan.mutant]),
        )  # fmt: skip

    def _client(self) -> redis_py.Redis:
        return self.server.client(decode_responses=True)


def _batches(jobs: Iterator[tuple[NewJob, int]]) -> Iterator[list[tuple[NewJob, int]]]:
    while batch := list(itertools.islice(jobs, _BATCH)):
        yield batch
