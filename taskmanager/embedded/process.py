"""The process of an embedded server, from launch to end. Nothing else starts one."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from taskmanager.embedded.program import Program
from taskmanager.errors import EmbeddedError

# Loading a large append-only file may take a while.
_START_SECONDS = 30.0
_STOP_SECONDS = 10.0
_POLL_SECONDS = 0.01
# The server must end with its owner, even after kill -9. A death signal would
# do that on Linux, but it fires when the starting *thread* ends. So a watcher
# reads a pipe whose other end only the owner has: a line means that the server
# has ended in good order, and the end of the pipe means that the owner is gone.
# Only the user may read what it writes: payloads may be secret, and the directory is not ours.
_ENDS_WITH_OWNER = (
    'umask 077; exec 3<&0 </dev/null; (read -r _ <&3 || kill $$) & exec 3<&-; exec "$@"'
)


def launch(program: Program, directory: Path, path: Path, lock: IO[str]) -> subprocess.Popen[bytes]:
    """Start the server on a socket; it inherits the lock."""
    import fcntl

    # Moved away from the shell's own descriptor 3, which would replace it.
    inherited = fcntl.fcntl(lock.fileno(), fcntl.F_DUPFD, 10)
    try:
        return subprocess.Popen(
            ["/bin/sh", "-c", _ENDS_WITH_OWNER, "sh", *_command(program, directory, path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=[inherited],
            # Ctrl-C is for the owner, which needs the server until it has finished.
            start_new_session=True,
        )
    finally:
        os.close(inherited)


def wait_until_it_answers(process: subprocess.Popen[bytes], path: Path, directory: Path) -> None:
    """Return when the server answers; raises EmbeddedError if it ends, or is too slow."""
    deadline = time.monotonic() + _START_SECONDS
    while not _answers(path):
        ended = process.poll() is not None
        if ended or time.monotonic() > deadline:
            what = f"exited with {process.returncode}" if ended else f"does not answer on {path}"
            raise EmbeddedError(
                f"the embedded server in {directory} {what}; its log ends with:\n"
                f"{_tail(directory / 'redis.log')}"
            )
        time.sleep(_POLL_SECONDS)


def end(process: subprocess.Popen[bytes]) -> None:
    """Let the server save and end, and tell the watcher that it has."""
    process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError), process.stdin as watcher:
        watcher.write(b"ended\n")


def _command(program: Program, directory: Path, path: Path) -> Iterator[str]:
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


def _answers(path: Path) -> bool:
    """Return whether the server is up; while it loads its data, it answers with an error."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1.0)
        probe.connect(str(path))
        probe.sendall(b"PING\r\n")
        return probe.recv(100).startswith(b"+PONG")
    return False


def _tail(log: Path) -> str:
    return log.read_text(errors="replace")[-1000:] if log.exists() else "(there is no log)"
