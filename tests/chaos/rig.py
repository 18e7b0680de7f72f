"""One run: a server, processes behind proxies, the nemesis, and what the checker says."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

import redis as redis_py

from taskmanager import TaskManager
from tests.chaos import mutants, snapshot
from tests.chaos.actors import Actor
from tests.chaos.checks import Rules, Violation, check, losses
from tests.chaos.history import History
from tests.chaos.nemesis import Nemesis
from tests.chaos.plan import PROFILES, Profile, Step, plan
from tests.chaos.setting import Setting
from tests.chaos.verdict import TIMED
from tests.chaos.workload import OTHER, SPOILED, WORK
from tests.support.oracle import Recorder, read_records
from tests.support.processes import Child, Spawner
from tests.support.proxy import FaultProxy
from tests.support.servers import Binary, RedisServer
from tests.support.waiting import eventually

WORKERS = ("worker-1", "worker-2", "worker-3")
# The one that runs inside somebody's main(); the others are started by the command line.
GUEST = "worker-3"
# The only one of the queue whose order is looked at; one slot.
LINE_WORKER = "worker-line"
PRODUCERS = {"producer-1": "async", "producer-2": "sync"}

# A shorter run may miss by chance what its profile is there for.
PROOF_SECONDS = 60.0
# So short that who is told to stop mostly has to hand back what it runs.
_GRACE = 0.5
_START_PATIENCE = 60.0
# A healthy fleet needs a lease or two for what is left over; a loaded machine more.
_DRAIN_PATIENCE = 60.0
_DRAIN_LOOK = 0.2
# Without any start or end for so many leases nothing will come any more.
_STUCK_LEASES = 5.0
_STOP_PATIENCE = 30.0
_EARLY_LOOK = 1.0
_WRITTEN_BY = 0.5
_STALL_LOOK = 0.1
# The machine itself stood still: whatever happened meanwhile has a reason.
_STALL = 0.7


@dataclass(frozen=True, slots=True)
class Plan:
    """What to run. lease and seconds (of the nemesis) in seconds, rate in jobs a second."""

    binary: Binary
    seed: int
    seconds: float = 60.0
    profile: str = "storm"
    mutant: str = ""
    lease: float = 2.0
    rate: float = 80.0
    # End with the first violation that can be told before the end.
    hasty: bool = False
    # Instead of the schedule that follows from the seed.
    schedule: Sequence[Step] | None = None

    @property
    def faults(self) -> Profile:
        return PROFILES[self.profile]

    def steps(self) -> list[Step]:
        """Return the schedule of faults."""
        if self.schedule is not None:
            return [*self.schedule]
        return plan(
            self.faults, seed=self.seed, seconds=self.seconds, lease=self.lease,
            workers=WORKERS, guests=[GUEST], in_line=[LINE_WORKER], producers=[*PRODUCERS],
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Result:
    """What a run has shown.

    losses are reported only: a run in which Redis lost data cannot keep them.
    dropped counts the replies that were really lost, by script or command, and
    told how often workers told of each thing that a profile may have to prove.
    """

    plan: Plan
    history: History
    violations: list[Violation]
    losses: list[Violation] = field(default_factory=list)
    dropped: Mapping[str, int] = field(default_factory=dict)
    told: Mapping[str, int] = field(default_factory=dict)

    @property
    def untimed(self) -> list[Violation]:
        """The violations that no machine is too slow for: the suite fails for these only."""
        return [it for it in self.violations if it.check not in TIMED]

    @property
    def unproven(self) -> list[str]:
        """What the run has not met with, though its profile is there to show it."""
        return [it for it in self.plan.faults.proves if not self.told.get(it)]

    @property
    def good(self) -> bool:
        """Whether nothing is violated; a run that is long enough must prove something too."""
        return not self.violations and not (self.unproven and self.plan.seconds >= PROOF_SECONDS)


def run(what: Plan, folder: Path) -> Result:
    """Run it; the processes' output and records stay in the folder."""
    with ExitStack() as stack:
        rig = Rig(what, folder, stack)
        rig.start()
        rig.suffer()
        rig.recover()
        return rig.judge()


class Rig:
    """The stage of a run. What it opens is closed with the stack."""

    def __init__(self, what: Plan, folder: Path, stack: ExitStack) -> None:
        self.plan = what
        self.rules = Rules(what.lease, what.faults.keeps_data)
        self.recorder = Recorder(folder / "records", "rig")
        self._setting = Setting(
            str(folder), seed=what.seed, lease=what.lease, rate=what.rate / len(PRODUCERS),
            kinds=what.faults.kinds, mutant=what.mutant,
        )  # fmt: skip
        self.server = RedisServer(what.binary, **_options(what)).start()
        stack.callback(self.server.stop)
        folder.mkdir(parents=True, exist_ok=True)
        self._spawner = Spawner(folder)
        self.actors = {name: self._actor(name, stack) for name in _names()}
        stack.callback(self._spawner.end)
        stack.enter_context(self._noting_stalls())
        self.nemesis = Nemesis(
            self.server, self.actors, self.recorder, mutants.scripts(what.mutant)
        )
        self._looked = time.monotonic()
        self._early = False

    def start(self) -> None:
        """Start the workers, and once they fetch, the producers."""
        workers = [self.actors[name] for name in (*WORKERS, LINE_WORKER)]
        for worker in workers:
            worker.start()
            worker.tend()
        for worker in workers:
            assert worker.child is not None
            worker.child.wait_for_line("worker .* started", _START_PATIENCE)
        for name in PRODUCERS:
            self.actors[name].start()

    def suffer(self) -> None:
        """Let the nemesis do its work."""
        self.nemesis.run(self.plan.steps(), seconds=self.plan.seconds, go_on=self._goes_on)

    def recover(self) -> None:
        """End the faults and the emits, and wait until nothing is left to do."""
        self.nemesis.heal()
        for name, actor in self.actors.items():
            if name in PRODUCERS:
                actor.terminate()
            else:
                actor.start()
        if not self._early:
            eventually(self._pause_schedule, _START_PATIENCE)
            self._wait_until_drained()
        self._stop_all()

    def _pause_schedule(self) -> bool:
        """Let nothing be fired any more; a queue that is filled each second is never drained."""

        async def pause() -> bool:
            async with TaskManager(self.server.url) as tm:
                return await tm.schedule("tick", WORK).pause()

        return asyncio.run(pause())

    def judge(self) -> Result:
        """Compare what was written down with what Redis holds."""
        records = read_records(self.recorder.folder)
        with self._client() as client:
            seen = None if self._early else snapshot.take(client)
        history = History(records, seen)
        lost = [] if self.rules.keeps_data else losses(history, self.rules)
        dropped = sum((actor.proxy.lost for actor in self.actors.values()), Counter[str]())
        told = {
            "fenced": len(history.fenced),
            "dropped": dropped.total(),
            "losses": sum(told_losses(it) for it in self._spawner.texts()),
        }
        return Result(self.plan, history, check(history, self.rules), lost, dropped, told)

    # Starting

    def _actor(self, name: str, stack: ExitStack) -> Actor:
        proxy = stack.enter_context(FaultProxy(self.server.port))
        begin = self._producer if name in PRODUCERS else self._worker
        return Actor(name, proxy, lambda start: begin(name, proxy.url, start))

    def _worker(self, name: str, url: str, start: int) -> Child:
        queues, slots = ("line", 1) if name == LINE_WORKER else (f"{WORK},{OTHER},{SPOILED}", 8)
        settings = {
            "REDIS_URL": url, "NAME": name, "QUEUES": queues, "CONCURRENCY": slots,
            "LEASE": self.plan.lease, "RESULT_TTL": 86_400, "SHUTDOWN_TIMEOUT": _GRACE,
            "CONNECT_TIMEOUT": 120,
        }  # fmt: skip
        environment = {f"TASKMANAGER_{it}": str(value) for it, value in settings.items()}
        environment |= self._environment(name, start)
        if name == GUEST:
            return self._spawner.python("-m", "tests.chaos.guest", env=environment)
        return self._spawner("worker", "tests.chaos.app:tm", env=environment)

    def _producer(self, name: str, url: str, start: int) -> Child:
        return self._spawner.python(
            "-m", "tests.chaos.producer", url, PRODUCERS[name], env=self._environment(name, start)
        )

    def _environment(self, name: str, start: int) -> dict[str, str]:
        return replace(self._setting, name=name, start=start).environment()

    @contextlib.contextmanager
    def _noting_stalls(self) -> Iterator[None]:
        stopping = threading.Event()
        thread = threading.Thread(target=self._note_stalls, args=[stopping], name="stalls")
        thread.start()
        try:
            yield
        finally:
            stopping.set()
            thread.join()

    def _note_stalls(self, stopping: threading.Event) -> None:
        before = time.monotonic()
        while not stopping.wait(_STALL_LOOK):
            now = time.monotonic()
            if now - before > _STALL:
                self.recorder.note("fault", detail="stall", span=now - before)
            before = now

    # Running

    def _goes_on(self) -> bool:
        if self.plan.hasty and time.monotonic() - self._looked > _EARLY_LOOK:
            self._early = bool(self._so_far())
            self._looked = time.monotonic()
        return not self._early

    def _so_far(self) -> list[Violation]:
        # The files are read one after another: what came meanwhile is in some of them only.
        until = time.monotonic() - _WRITTEN_BY
        records = [it for it in read_records(self.recorder.folder) if it.at <= until]
        return check(History(records), self.rules)

    def _wait_until_drained(self) -> None:
        until = time.monotonic() + _DRAIN_PATIENCE
        stuck_after = _STUCK_LEASES * self.plan.lease
        before: object = None
        changed = time.monotonic()
        while time.monotonic() < until:
            self.nemesis.tend()
            time.sleep(_DRAIN_LOOK)
            now = self._left()
            if now != before:
                before, changed = now, time.monotonic()
            if self._producers_ended() and not now:
                return
            if self.plan.mutant and time.monotonic() - changed > stuck_after:
                return

    def _producers_ended(self) -> bool:
        return not any(self.actors[name].running for name in PRODUCERS)

    def _left(self) -> dict[str, int]:
        with self._client() as client:
            return snapshot.left(client)

    def _stop_all(self) -> None:
        for actor in self.actors.values():
            actor.terminate()
        for actor in self.actors.values():
            if wrong := actor.stop(_STOP_PATIENCE):
                self.recorder.note("died", on=actor.name, detail=wrong)

    def _client(self) -> redis_py.Redis:
        return self.server.client(decode_responses=True)


def told_losses(log: str) -> int:
    """Return how often the log of a worker says that Redis has lost what a queue held."""
    return log.count("has lost its data in Redis")


def _names() -> list[str]:
    return [*WORKERS, LINE_WORKER, *PRODUCERS]


def _options(what: Plan) -> dict[str, str]:
    options = {}
    if what.faults.keeps_data:
        # fsync before each reply: what was acknowledged survives a kill -9.
        options |= {"appendonly": "yes", "appendfsync": "always"}
    if what.binary.version.startswith("6."):
        return options
    return options | {"enable_debug_command": "local"}
