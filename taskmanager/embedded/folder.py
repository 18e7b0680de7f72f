"""The directory of an embedded server: who owns it, who uses it now, and where its socket is."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tempfile
import time
from pathlib import Path
from typing import IO

from taskmanager.embedded.program import Program
from taskmanager.errors import EmbeddedError

# The kernel limits the path of a socket to 108 bytes on Linux, 104 on macOS.
_LONGEST_SOCKET_PATH = 100
# The server of a killed owner ends within about 0.1 s, after its last write.
_TAKE_OVER_SECONDS = 3.0
_POLL_SECONDS = 0.01


def own_directory(given: Path | None, undo: contextlib.ExitStack) -> Path:
    """Return the directory to use, created if needed; a temporary one is deleted by `undo`."""
    if given is None:
        directory = Path(tempfile.mkdtemp(prefix="taskmanager-"))
        undo.callback(shutil.rmtree, directory, ignore_errors=True)
        return directory
    try:
        given.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise EmbeddedError(
            f"the embedded server cannot use {given}: {error.strerror}; "
            "choose a directory that you can write to"
        ) from error
    directory = given.resolve()
    _check_owner(directory)
    return directory


def lock(directory: Path, undo: contextlib.ExitStack) -> IO[str]:
    """Lock the directory. The server inherits the lock, which so lasts until the server ends."""
    import fcntl  # Windows has none, and this module must import there.

    file = undo.enter_context(_open_own(directory / "owner"))
    deadline = time.monotonic() + _TAKE_OVER_SECONDS
    while not _try_lock(file):
        if time.monotonic() > deadline:
            raise _in_use(directory, file)
        time.sleep(_POLL_SECONDS)
    # Unlocking applies to every process that inherited the file, closing does not.
    undo.callback(fcntl.flock, file, fcntl.LOCK_UN)
    file.truncate(0)
    file.write(f"{os.getpid()}\n")
    file.flush()
    return file


def check_data(directory: Path, program: Program) -> None:
    """Refuse data that the program cannot read, and record that it is about to write here."""
    # An older program may not see the data at all, or call it damaged.
    record = directory / "written-by"
    writer = record.read_text() if record.exists() else ""
    if not program.reads(writer):
        raise EmbeddedError(
            f"the data in {directory} was written by {writer.strip()}, which {program.path} "
            f"({program}) cannot read: put that server on the PATH, or choose another directory"
        )
    record.write_text(f"{program}\n")


def socket_path(directory: Path, undo: contextlib.ExitStack) -> Path:
    """Return where the server listens: in the directory, unless that path is too long."""
    path = directory / "redis.sock"
    if len(os.fsencode(path)) <= _LONGEST_SOCKET_PATH:
        path.unlink(missing_ok=True)
        return path
    folder = Path(tempfile.mkdtemp(prefix="taskmanager-", dir=_short_folder()))
    undo.callback(shutil.rmtree, folder, ignore_errors=True)
    return folder / "redis.sock"


def _check_owner(directory: Path) -> None:
    """Refuse a directory in which someone else may have placed links to our files."""
    found = directory.stat()
    if found.st_uid != os.geteuid():
        raise EmbeddedError(
            f"{directory} belongs to user {found.st_uid}, but this process runs as user "
            f"{os.geteuid()}: choose a directory that you own for the embedded server"
        )
    if found.st_mode & stat.S_IWOTH:
        raise EmbeddedError(
            f"everybody can write to {directory}: run chmod o-w on it, "
            "or choose another directory for the embedded server"
        )


def _open_own(path: Path) -> IO[str]:
    try:
        return os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600), "r+")
    except OSError as error:
        raise EmbeddedError(
            f"the embedded server cannot lock {path}: {error.strerror}; remove it if it is a link, "
            "or choose another directory"
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
        "connect to the URL of that server, stop that process, or choose another directory"
    )


def _short_folder() -> str:
    folder = tempfile.gettempdir()
    longest = os.fsencode(f"{folder}/taskmanager-12345678/redis.sock")
    return folder if len(longest) <= _LONGEST_SOCKET_PATH else "/tmp"
