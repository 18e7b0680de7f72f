"""Find the real Redis servers of this machine and run private ones."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import redis as redis_py
from redis.backoff import NoBackoff
from redis.retry import Retry

from taskmanager.embedded.program import packaged_servers
from tests.support.waiting import PATIENCE, eventually

_FETCHED = Path(__file__).resolve().parents[2] / ".servers"
_VERSION = re.compile(r"\b(redis|valkey) server v=([0-9.]+)", re.IGNORECASE)
# A test that is killed cannot stop its servers. So a watcher beside each one
# reads a pipe that nobody writes to, and kills it when the pipe's other end is gone.
_ENDS_WITH_US = 'exec 3<&0 </dev/null; (read -r _ <&3 || kill -9 $$) & exec 3<&-; exec "$@"'
_DEFAULTS: Mapping[str, str] = {"save": "", "appendonly": "no"}


@dataclass(frozen=True)
class Binary:
    """A redis-server program that runs here."""

    path: Path
    kind: str
    version: str

    @property
    def id(self) -> str:
        """The name in test ids: redis-7.0.15."""
        return f"{self.kind}-{self.version}"

    @property
    def numbers(self) -> tuple[int, ...]:
        """The version as numbers that can be compared."""
        return tuple(int(part) for part in self.version.split("."))


@cache
def find_binaries(first: tuple[Path, ...] = ()) -> list[Binary]:
    """Return one Binary per version, newest first; the programs in first are looked at first."""
    found: dict[str, Binary] = {}
    for path in (*first, *_candidates()):
        binary = _identify(path)
        if binary is not None:
            found.setdefault(binary.id, binary)
    return sorted(found.values(), key=lambda it: it.numbers, reverse=True)


def chosen() -> list[Binary]:
    """Return the servers that the tests run on, newest first.

    That is the newest found. TASKMANAGER_REQUIRE_SERVERS asks for others: ``all`` that were
    found, or a list such as ``"redis-7.0 valkey-9.1"``, where a name stands for the newest
    version that begins with it.
    """
    required = _required()
    if required == ["all"]:
        return find_binaries()
    wanted = {binary.id for it in required if (binary := _newest(it)) is not None}
    return [it for it in find_binaries() if it.id in wanted] if required else find_binaries()[:1]


def missing() -> list[str]:
    """Return the names in TASKMANAGER_REQUIRE_SERVERS that no server found here has."""
    return [it for it in _required() if it != "all" and _newest(it) is None]


def _required() -> list[str]:
    return os.environ.get("TASKMANAGER_REQUIRE_SERVERS", "").split()


def _newest(name: str) -> Binary | None:
    return next((it for it in find_binaries() if f"{it.id}.".startswith(f"{name}.")), None)


def _candidates() -> Iterator[Path]:
    for named in os.environ.get("TASKMANAGER_TEST_SERVERS", "").split(os.pathsep):
        if named:
            yield Path(named)
    for folder in os.get_exec_path():
        yield Path(folder) / "redis-server"
        yield Path(folder) / "valkey-server"
    yield from packaged_servers()
    # What `make servers` fetches.
    yield from _FETCHED.glob("*/bin/redis-server")


def _identify(path: Path) -> Binary | None:
    if not os.access(path, os.X_OK):
        return None
    try:
        shown = subprocess.run(
            [path, "--version"], capture_output=True, text=True, timeout=60, check=False
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    match = _VERSION.search(shown)
    return Binary(path, match[1].lower(), match[2]) if match else None


class RedisServer:
    """A private server on a free port and a unix socket; its data lie in a temporary folder.

    Options are those of redis.conf with underscores for hyphens
    (``RedisServer(binary, appendonly="yes")``). It ends with this process,
    whatever way that ends. under is a command that runs the program, such as a profiler.
    """

    def __init__(self, binary: Binary, *, under: Sequence[str] = (), **options: str) -> None:
        self.binary = binary
        self._under = under
        self.port = 0
        self.directory = Path(tempfile.mkdtemp(prefix="tm-test-"))
        self._options = {**_DEFAULTS, **{k.replace("_", "-"): v for k, v in options.items()}}
        self._process: subprocess.Popen[bytes] | None = None
        self._baseline: dict[bytes, bytes] = {}
        # For what is done between tests: to connect costs as much as all the rest of it.
        self._own: Any = None

    @property
    def id(self) -> str:
        return self.binary.id

    @property
    def version(self) -> tuple[int, ...]:
        return self.binary.numbers

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def unix_url(self) -> str:
        return f"unix://{self.socket}"

    @property
    def socket(self) -> Path:
        return self.directory / "redis.sock"

    @property
    def pid(self) -> int:
        assert self._process is not None, "the server was not started"
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> RedisServer:
        """Start and wait until it answers. A restart keeps the port and the folder."""
        for _ in range(5):
            self.port = self.port or free_port()
            self._spawn()
            if self._answers():
                self._baseline = self._config()
                return self
            # Somebody else took the port between our look and the server's bind.
            self._end(signal.SIGKILL)
            self.port = 0
        raise RuntimeError(f"{self.id} did not start:\n{self.log()[-2000:]}")

    def stop(self) -> None:
        """Shut down (with options that persist, after saving) and remove the folder."""
        self._end(signal.SIGTERM)
        shutil.rmtree(self.directory, ignore_errors=True)

    def kill(self) -> None:
        """kill -9; the folder stays for a restart."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Shut down when it runs and start again on the same port and folder."""
        self._end(signal.SIGTERM)
        self.start()

    def pause(self) -> None:
        """Stop answering while every connection stays open (SIGSTOP)."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def client(self, **options: Any) -> redis_py.Redis:
        """Return a plain client without retries; close it, or use it in a `with`.

        It waits long for an answer: a server beside many others at work may stand still.
        """
        # Without driver_info: redis-py would look its version up for each connection.
        settings = {"retry": Retry(NoBackoff(), 0), "driver_info": None}
        return redis_py.Redis.from_url(
            self.url, **settings, **{"socket_timeout": PATIENCE, **options}
        )

    def own(self) -> redis_py.Redis:
        """Return a client that is kept between tests; it connects anew where it was cut off."""
        self._own = self._own or self.client()
        client: redis_py.Redis = self._own
        return client

    def reset(self) -> None:
        """Make it like new: running, empty, unlimited, without clients, scripts, users."""
        if not self.running:
            self.start()
        self.resume()
        client: Any = self.own()
        client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
        self._restore_config(client)
        _forget_users(client)
        client.flushall()
        client.script_flush()
        client.config_resetstat()

    def log(self) -> str:
        path = self.directory / "redis.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def _spawn(self) -> None:
        options = {
            "port": str(self.port),
            "bind": "127.0.0.1",
            "unixsocket": str(self.socket),
            "dir": str(self.directory),
            "logfile": str(self.directory / "redis.log"),
            **self._options,
        }
        command = [*self._under, str(self.binary.path)]
        for name, value in options.items():
            command += [f"--{name}", value]
        self._process = subprocess.Popen(
            ["/bin/sh", "-c", _ENDS_WITH_US, "sh", *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def _answers(self) -> bool:
        """Whether it is ours that answers; False when the process ended instead."""

        def settled() -> bool:
            if not self.running:
                return True
            with contextlib.suppress(redis_py.RedisError), self.client() as client:
                # INFO answers while the data are still being loaded, PING does not.
                return int(client.info("server")["process_id"]) == self.pid and client.ping()
            return False

        eventually(settled)
        return self.running

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if self._own is not None:
            self._own.close()
            self._own = None
        if process is None:
            return
        assert process.stdin is not None
        if process.poll() is None:
            process.send_signal(how)
            process.send_signal(signal.SIGCONT)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        # A line tells the watcher that there is nothing to kill any more.
        with contextlib.suppress(BrokenPipeError), process.stdin as watcher:
            watcher.write(b"done\n")

    def _config(self) -> dict[bytes, bytes]:
        found: dict[bytes, bytes] = self.own().config_get("*")  # type: ignore[assignment]
        return found

    def _restore_config(self, client: redis_py.Redis) -> None:
        for name, now in self._config().items():
            if self._baseline.get(name, now) != now:
                client.config_set(name, self._baseline[name])


def _forget_users(client: redis_py.Redis) -> None:
    for user in client.acl_users():
        name = user.decode() if isinstance(user, bytes) else user
        if name != "default":
            client.acl_deluser(name)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
