"""The one door for batches that must be applied once although they may be sent twice (G4)."""

from __future__ import annotations

import asyncio
import hashlib
import math
import os
import secrets
import time
from collections.abc import Callable
from typing import NamedTuple

from redis.exceptions import (
    BusyLoadingError,
    ConnectionError,
    RedisError,
    ResponseError,
    TimeoutError,
)

from consumers.connections.backoff import pause_before
from consumers.connections.link import Packed, pack_arguments
from consumers.connections.not_now import FOR_GOOD, is_for_now
from consumers.connections.wire import NotSent, Wire
from consumers.cuts import cut, cut_in_flight
from consumers.errors import BrokenKey, RedisUnavailable, Request, TaskManagerError, WriterRefused
from consumers.store.keys import Keys
from consumers.store.refusals import is_foreign_value, meaning
from consumers.store.replaying import dead_stream
from consumers.store.scripts import Call, ReplyTimer, call

_EXPECTED = (
    ("meta", "hash"), ("lanes", "zset"), ("stats", "hash"),
    ("waiters", "hash"), ("dead", "stream"), ("dead_index", "hash"),
)  # fmt: skip


class _Lost(NamedTuple):
    """A try that brought no answer; perhaps_executed says whether it may have been applied.

    is_final says that another try will come to the same.
    """

    reason: str
    perhaps_executed: bool
    is_final: bool = False


def writer_id() -> str:
    """Return an id that no other process, event loop or boot shares."""
    return f"{os.getpid()}-{id(asyncio.get_running_loop()):x}-{secrets.token_hex(16)}"


class Sealed(NamedTuple):
    """A batch whose arguments are packed, and their digest: ready to be numbered and sent."""

    batch: Call
    arguments: Packed
    digest: str


def seal(batch: Call) -> Sealed:
    """Return the batch as the door sends it. Raises TypeError for what cannot be sent."""
    arguments = pack_arguments(batch.args)
    digest = hashlib.blake2b(arguments.sent, digest_size=16).hexdigest()
    return Sealed(Call(batch.script, batch.keys, []), arguments, digest)


def numbered(batch: Call, keys: Keys, writer: str, number: int, digest: str) -> Call:
    """Return a batch as a writer sends it: behind the door, which forgets a batch of number 0."""
    names = [keys.writer(writer), *batch.keys[1:]]
    return Call(batch.script, names, [keys.base, number, digest, *batch.args])


class Door:
    """Sends the batches of one writer to one queue, one at a time.

    A batch without an answer is sent again, unchanged, under the same number;
    Redis remembers the last number, digest and answer and so applies it once.
    """

    def __init__(self, wire: Wire, keys: Keys, *, where: str, request: Request = "change") -> None:
        self._wire = wire
        self._keys = keys
        self._where = where
        self._request = request
        self._timer = ReplyTimer()
        # Number and digest of the batch that was sent last.
        self._sent = (0, "")
        self._rename()

    async def send(
        self,
        batch: Call | Sealed,
        *,
        until: float,
        meanwhile: Callable[[], None] | None = None,
        again: bool = False,
    ) -> bytes:
        """Return the batch's answer; repeat it until the monotonic time ``until``.

        meanwhile is called while Redis works on the batch, once a try of it. again: a call
        with this batch was cancelled, so Redis may have applied it.
        Raises RedisUnavailable when no answer came by then, QueueFull when
        memory is full, BrokenKey or LayoutMismatch when nothing can be written.
        """
        if self._pid != os.getpid():
            # Forked: our parent goes on numbering its batches under the old id.
            self._rename()
        sealed = batch if isinstance(batch, Sealed) else seal(batch)
        if not (again and self._sent == (self._number, sealed.digest)):
            self._number += 1
        self._sent = (self._number, sealed.digest)
        step = numbered(sealed.batch, self._keys, self._writer, self._number, sealed.digest)
        attempt, executed = 0, False
        while True:
            answer = await self._try(step, sealed.arguments, until, meanwhile, repeated=executed)
            if isinstance(answer, bytes):
                return answer
            executed = executed or answer.perhaps_executed
            attempt += 1
            pause = pause_before(attempt)
            if time.monotonic() + pause > until or (answer.is_final and until < math.inf):
                raise RedisUnavailable(
                    self._where,
                    answer.reason,
                    outcome="unknown" if executed else "not_sent",
                    request=self._request,
                )
            await asyncio.sleep(pause)

    def _rename(self) -> None:
        self._writer, self._pid, self._number = writer_id(), os.getpid(), 0

    async def _try(
        self,
        step: Call,
        rest: Packed,
        until: float,
        meanwhile: Callable[[], None] | None,
        *,
        repeated: bool,
    ) -> bytes | _Lost:
        name = step.script.name
        cut(f"{name}.before_send")
        cut_in_flight(f"{name}.in_flight")
        try:
            answer: bytes = await call(
                self._wire, step, until=until, rest=rest, hurry=True, meanwhile=meanwhile,
                timer=self._timer,
            )  # fmt: skip
            cut(f"{name}.answered")
            return answer
        except FOR_GOOD as error:
            # There was no connection, so nothing was sent, and waiting will not help.
            return _Lost(str(error), perhaps_executed=False, is_final=True)
        except NotSent as error:
            return _Lost(str(error), perhaps_executed=False)
        except BusyLoadingError as error:
            return _Lost(str(error), perhaps_executed=False)
        except (ConnectionError, TimeoutError) as error:
            return _Lost(str(error), perhaps_executed=True)
        except ResponseError as error:
            return await self._refused(error, step, repeated=repeated)

    async def _refused(self, error: ResponseError, step: Call, *, repeated: bool) -> _Lost:
        text = str(error)
        if is_for_now(error):
            return _Lost(text, perhaps_executed=False)
        if "WRITERREFUSED" in text:
            return self._renamed(step, text, repeated=repeated)
        raise await self._explained(error)

    def _renamed(self, step: Call, text: str, *, repeated: bool) -> _Lost:
        # Somebody sends under our id. Under a new one the batch goes through,
        # unless an earlier try of it may already have been applied.
        self._rename()
        if repeated:
            raise WriterRefused(text)
        self._number = 1
        step.keys[0], step.args[1] = self._keys.writer(self._writer), self._number
        return _Lost(text, perhaps_executed=False)

    async def _explained(self, error: ResponseError) -> TaskManagerError:
        if (known := meaning(error, self._keys, self._where)) is not None:
            return known
        if is_foreign_value(error):
            return await self._wrong_key()
        return TaskManagerError(f"Redis at {self._where} refused a batch: {error}")

    async def _wrong_key(self) -> BrokenKey:
        try:
            for name, kind in _EXPECTED:
                key = getattr(self._keys, name)
                if name == "dead":
                    key = await dead_stream(self._wire, self._keys)
                if (await self._wire.send("TYPE", key)).decode() not in (kind, "none"):
                    return BrokenKey(key)
        except RedisError:
            # Not found out which of them: the error must not become another one.
            return BrokenKey(self._keys.pattern)
        return BrokenKey(self._keys.writer(self._writer))
