"""One Redis with real workers on it, jobs for them, and the witness of what ran."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from consumers.store.keys import Keys
from taskmanager import JobHandle, TaskManager
from tests.support.processes import Child, Spawner
from tests.support.servers import RedisServer
from tests.support.waiting import eventually
from tests.support.witness import Witness

APPS = Path(__file__).parent / "apps"

# Seconds. Long enough that four test processes on two cores do not lose it by
# accident. A sweep comes at least every half lease.
LEASE = 2.0
RECOVERY = 1.5 * LEASE
# For anything that is waited for; nothing is asserted to be quick.
SLACK = 60.0


class Stage:
    """Workers are started through the command line; settings reach them as environment.

    They find the server at url, if it is given: the way there may be broken.
    """

    def __init__(
        self, spawn: Spawner, server: RedisServer, folder: Path, *, url: str | None = None
    ) -> None:
        self.server = server
        self.url = url or server.url
        self.witness = Witness(folder / "witness.log")
        self.keys = Keys("default")
        self._spawn = spawn
        self.gate = Gate(folder / "gate")
        self._children: list[Child] = []

    def worker(
        self, app: str, *arguments: str, told: Mapping[str, str] | None = None, **settings: object
    ) -> Child:
        """Start a worker of an app and return when it fetches; told is more environment."""
        child = self.starting(app, *arguments, told=told, **settings)
        child.wait_for_line("worker .* started")
        return child

    def starting(
        self, app: str, *arguments: str, told: Mapping[str, str] | None = None, **settings: object
    ) -> Child:
        """Start a worker of an app without waiting for it."""
        environment = {f"TASKMANAGER_{name.upper()}": str(it) for name, it in settings.items()}
        child = self._spawn(
            "--url", self.url, "worker", f"{app}:tm", *arguments,
            cwd=APPS, env=self.witness.environment | environment | dict(told or {}),
        )  # fmt: skip
        self._children.append(child)
        return child

    def script(self, name: str, *arguments: str, url: str | None = None) -> Child:
        """Start one of the scripts beside the apps, with the server's URL as its first argument."""
        child = self._spawn.python(str(APPS / name), url or self.url, *arguments)
        self._children.append(child)
        return child

    def show(self) -> None:
        """Print what every process wrote; pytest shows it when the test fails."""
        for child in self._children:
            print(f"--- process {child.pid} wrote:\n{child.text}")

    def emit(self, event: str, data: Mapping[str, Any] | None = None, **arguments: Any) -> None:
        """Emit one job."""
        self.emit_many({"event": event, "data": data or {}, **arguments})

    def emit_many(self, *jobs: Mapping[str, Any]) -> list[JobHandle]:
        """Emit jobs, each a dict of what emit takes."""

        async def send() -> list[JobHandle]:
            async with TaskManager(self.server.url) as tm:
                return await tm.emit_many(jobs)

        return asyncio.run(send())

    def stat(self, name: str) -> int:
        """Return one of the queue's counters."""
        with self.server.client() as client:
            return int(client.hget(self.keys.stats, name) or 0)

    def completed(self, count: int, within: float = SLACK) -> None:
        """Wait until so many jobs are completed, and no more."""
        eventually(lambda: self.stat("completed") >= count, within)
        found = self.stat("completed")
        assert found == count, f"{found} jobs are completed instead of {count}"

    def letters(self) -> dict[str, dict[str, str]]:
        """Return the dead letters' fields by job id."""
        with self.server.client(decode_responses=True) as client:
            return {letter["job"]: letter for _, letter in client.xrange(self.keys.dead)}

    def waiting(self) -> int:
        """Return how many jobs lie in the queue's lanes, those that are running included."""
        return len(self.waiting_ids())

    def waiting_ids(self) -> list[str]:
        """Return the ids of the jobs that lie in the queue's lanes."""
        with self.server.client(decode_responses=True) as client:
            lanes = client.scan_iter(f"{self.keys.base}lane:*", count=1000)
            return [fields["id"] for lane in lanes for _, fields in client.xrange(lane)]

    def writers(self) -> int:
        """Return how many writers have emitted lately."""
        with self.server.client() as client:
            return len(list(client.scan_iter(f"{self.keys.base}prod:*", count=1000)))


def nap(number: int, *, seconds: float) -> dict[str, object]:
    """Return job-<number>, as emit_many takes it, that does nothing for so long."""
    return {"event": "nap", "data": {"seconds": seconds}, "id": f"job-{number}"}


class Gate:
    """What jobs of ``wait`` and ``wait-in-thread`` wait for: it opens for all of them at once."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def job(self, number: int, event: str = "wait") -> dict[str, object]:
        """Return job-<number>, as emit_many takes it, that runs until the gate is open."""
        return {"event": event, "data": {"gate": str(self._path)}, "id": f"job-{number}"}

    def open(self) -> None:
        """Let all of them end."""
        self._path.touch()


def stop(child: Child) -> None:
    """Send one SIGTERM and expect exit code 0."""
    child.terminate()
    assert child.wait(SLACK) == 0, child.text
