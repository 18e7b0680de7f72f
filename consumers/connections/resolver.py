"""Find the addresses of a host, in a thread of our own.

asyncio asks in the default executor, which belongs to the application: while its calls
fill that, no connection could be made.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from functools import partial
from typing import TypeAlias

from consumers.connections.natives import original, start_thread

_Found: TypeAlias = "list[str] | OSError"


class Resolver:
    """Asks for each host at most once at a time, for whatever threads and event loops.

    So a name server that is silent holds one thread a host, however often it is asked.
    """

    def __init__(self) -> None:
        self._lock = original("_thread", "allocate_lock")()
        self._waiting: dict[tuple[str, int], list[asyncio.Future[_Found]]] = {}

    async def addresses(self, host: str, family: int = 0) -> list[str]:
        """Return the addresses of a host, best first; raises OSError when it has none."""
        future: asyncio.Future[_Found] = asyncio.get_running_loop().create_future()
        with self._lock:
            waiting = self._waiting.setdefault((host, family), [])
            waiting.append(future)
        if waiting[0] is future:
            self._begin(host, family)
        found = await future
        if isinstance(found, OSError):
            raise type(found)(*found.args)
        return found

    def forget(self) -> None:
        """Start anew; for a forked child, where the threads are not."""
        self.__init__()  # type: ignore[misc]

    def _begin(self, host: str, family: int) -> None:
        find = partial(self._find, host, family)
        try:
            start_thread(find, name="taskmanager-resolver")
        except RuntimeError:
            # The interpreter is about to end and starts no thread any more.
            find()

    def _find(self, host: str, family: int) -> None:
        found = _look_up(host, family)
        with self._lock:
            waiting = self._waiting.pop((host, family))
        for future in waiting:
            # Whoever has waited may be gone, and its loop as well.
            with contextlib.suppress(RuntimeError):
                future.get_loop().call_soon_threadsafe(_answer, future, found)


def _look_up(host: str, family: int) -> _Found:
    try:
        rows = original("socket", "getaddrinfo")(host, None, family, socket.SOCK_STREAM)
    except OSError as error:
        return error
    except ValueError as error:
        # Of no encoding, or with a zero byte in it.
        return OSError(f"{host!r} is not a valid host name: {error}")
    return list({row[4][0]: None for row in rows})


def _answer(future: asyncio.Future[_Found], found: _Found) -> None:
    if not future.done():
        future.set_result(found)


resolver = Resolver()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=resolver.forget)
