"""An example's processes: its workers, its web server, its scripts, on one Redis."""

from __future__ import annotations

from pathlib import Path

from consumers.store.keys import Keys
from tests.examples.web import Client
from tests.support.deployed import EXAMPLES
from tests.support.facade import waiting
from tests.support.processes import A_WHOLE_RUN, Child, Spawner
from tests.support.servers import RedisServer
from tests.support.waiting import eventually

APPS = Path(__file__).parent / "apps"


class Stage:
    """Starts what an example's page starts, in the example's folder."""

    def __init__(self, spawn: Spawner, server: RedisServer, folder: str) -> None:
        self.server = server
        self.folder = EXAMPLES / folder
        self._spawn = spawn

    def worker(self, *arguments: str) -> Child:
        """Start a worker; what it is to do waits for it anyway."""
        return self._spawn("worker", "jobs:tm", *arguments, cwd=self.folder, env=self._environment)

    def uvicorn(self, *, processes: int = 1) -> Client:
        """Start uvicorn and return what asks it, once all of its processes are there."""
        arguments = ("--port", "0", "--workers", str(processes))
        web = self.python("-m", "uvicorn", "main:app", *arguments)
        started = web.wait_for_line(r"Uvicorn running on (http://\S+)", A_WHOLE_RUN)
        client = Client(started[1])
        # Several processes listen some time after their parent has bound the port.
        eventually(client.is_answered, A_WHOLE_RUN)
        ready = "Application startup complete"
        eventually(lambda: web.text.count(ready) == processes, A_WHOLE_RUN)
        return client

    def gunicorn(self, *arguments: str, app: str = "wsgi:app") -> Client:
        """Start gunicorn and return what asks it, once it listens."""
        # Beside the example's own folder, where what only a test has may lie.
        path = ("--pythonpath", str(APPS))
        web = self.python("-m", "gunicorn", "-b", "127.0.0.1:0", *path, *arguments, app)
        return Client(web.wait_for_line(r"Listening at: (http://\S+)", A_WHOLE_RUN)[1])

    def run(self, *arguments: str, cwd: Path | None = None) -> str:
        """Run a program to its end, which must be a good one, and return what it wrote."""
        child = self.python(*arguments, cwd=cwd)
        assert child.wait(within=A_WHOLE_RUN) == 0, child.text
        return child.text

    def python(self, *arguments: str, cwd: Path | None = None) -> Child:
        """Start this interpreter in the example's folder."""
        return self._spawn.python(*arguments, cwd=cwd or self.folder, env=self._environment)

    def waiting(self, queue: str) -> int:
        """Return how many jobs lie in a queue's lane."""
        with self.server.client() as client:
            return waiting(client, queue)

    def completed(self, queue: str) -> int:
        """Return how many jobs of a queue have completed."""
        with self.server.client() as client:
            return int(client.hget(Keys(queue).stats, "completed") or 0)

    @property
    def _environment(self) -> dict[str, str]:
        # A Redis that is away is given up soon.
        return {"TASKMANAGER_REDIS_URL": self.server.url, "TASKMANAGER_EMIT_TIMEOUT": "2"}
