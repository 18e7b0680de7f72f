"""The one door for batches that must be applied once although they may be sent twice (G4)."""

from __future__ import annotations

import asyncio
import hashlib
import math
import os
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

from redis.exceptions import (
    BusyLoadingError,
    ConnectionError,
    NoScriptError,
    RedisError,
    ResponseError,
    TimeoutError,
)

from consumers.connections.backoff import pause_before
from consumers.connections.link import Argument, Packed, pack_arguments
from consumers.connections.not_now import FOR_GOOD, is_for_now
from consumers.connections.wire import NotSent, Wire
from consumers.cuts import cut, cut_in_flight
from consumers.errors import (
    BrokenKey,
    RedisUnavailable,
    Request,
    Sent,
    TaskManagerError,
    WriterRefused,
)
from consumers.store.keys import Keys
from consumers.store.refusals import is_foreign_value, meaning
from consumers.store.replaying import dead_stream
from consumers.store.scripts import Call, ReplyTimer

_EXPECTED = (
    ("meta", "hash"), ("lanes", "zset"), ("stats", "hash"),
    ("waiters", "hash"), ("dead", "stream"), ("dead_index", "hash"),
)  # fmt: skip
# Nothing was applied: it was not sent, or Redis could not read its data yet.
_NOT_EXECUTED = (*FOR_GOOD, NotSent, BusyLoadingError)


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


@dataclass(slots=True)
class _Sending:
    """A batch under way; executed says whether a try of it may have been applied."""

    step: Call
    rest: Packed
    until: float
    ended: Callable[[bytes | Exception], None]
    meanwhile: Callable[[], None] | None
    # How many have failed.
    tries: int = 0
    executed: bool = False
    # Whether the latest sent the script's text.
    as_text: bool = False


class _Reply:
    """Takes the reply to one try of a door's batch, unless the door has given the try up."""

    __slots__ = ("door",)

    def __init__(self, door: Door) -> None:
        self.door: Door | None = door

    def done(self) -> bool:
        return self.door is None

    def set_result(self, reply: Any, /) -> None:
        door, self.door = self.door, None
        assert door is not None
        door.answered(reply)

    def set_exception(self, error: Exception, /) -> None:
        door, self.door = self.door, None
        assert door is not None
        door.failed(error)


def _hand_over(answer: asyncio.Future[bytes], outcome: bytes | Exception) -> None:
    if answer.done():
        return
    if isinstance(outcome, Exception):
        answer.set_exception(outcome)
    else:
        answer.set_result(outcome)


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
        self._sending: _Sending | None = None
        # What takes the reply to its latest try, until it has.
        self._reply: _Reply | None = None
        # What goes on with it otherwise: after a pause, or when a broken key is found.
        self._later: asyncio.Handle | asyncio.Task[BrokenKey] | None = None
        self._rename()

    async def send(self, batch: Call | Sealed, *, until: float, again: bool = False) -> bytes:
        """Return the batch's answer; repeat it until the monotonic time ``until``.

        again: a call with this batch was cancelled, so Redis may have applied it.
        Raises RedisUnavailable when no answer came by then, QueueFull when
        memory is full, BrokenKey or LayoutMismatch when nothing can be written.
        """
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self.start(batch, partial(_hand_over, answer), until=until, again=again)
        try:
            return await answer
        finally:
            self.stop()

    def start(
        self,
        batch: Call | Sealed,
        ended: Callable[[bytes | Exception], None],
        *,
        until: float,
        meanwhile: Callable[[], None] | None = None,
        again: bool = False,
    ) -> None:
        """Send a batch as send does, and call ended with the answer, or what send would raise.

        It is called once, after this has returned, and must not raise: with an answer, that is
        where its bytes are read, so that what it sends leaves in the same turn of the loop.
        meanwhile is called while Redis works on the batch, once a try of it.
        """
        if self._pid != os.getpid():
            # Forked: our parent goes on numbering its batches under the old id.
            self._rename()
        sealed = batch if isinstance(batch, Sealed) else seal(batch)
        if not (again and self._sent == (self._number, sealed.digest)):
            self._number += 1
        self._sent = (self._number, sealed.digest)
        step = numbered(sealed.batch, self._keys, self._writer, self._number, sealed.digest)
        self._sending = _Sending(step, sealed.arguments, until, ended, meanwhile)
        self._try(self._sending)

    @property
    def is_sending(self) -> bool:
        """Whether a batch is under way."""
        return self._sending is not None

    def stop(self) -> None:
        """Give up the batch that is under way, if there is one, and say nothing of it."""
        self._sending = None
        self._timer.stop()
        if self._reply is not None:
            self._reply.door = None
            self._reply = None
        if self._later is not None:
            self._later.cancel()
            self._later = None

    def _rename(self) -> None:
        self._writer, self._pid, self._number = writer_id(), os.getpid(), 0

    def _try(self, sending: _Sending) -> None:
        self._later, sending.as_text = None, False
        name = sending.step.script.name
        cut(f"{name}.before_send")
        cut_in_flight(f"{name}.in_flight")
        self._ask(sending, sending.step.by_sha)
        if sending.meanwhile is not None:
            sending.meanwhile()

    def _ask(self, sending: _Sending, command: Sequence[Argument]) -> None:
        self._reply = reply = _Reply(self)
        # At once, not at the end of this turn of the loop: Redis works on it for as long as a
        # turn takes.
        self._wire.post(reply, command, rest=sending.rest, hurry=True)
        if sending.until < math.inf:
            self._timer.start(self._wire, reply, sending.until)

    def answered(self, answer: bytes) -> None:
        """Take the answer to the batch that is under way."""
        assert self._sending is not None
        cut(f"{self._sending.step.script.name}.answered")
        self._end(answer)

    def failed(self, error: Exception) -> None:
        """Take note that the latest try of the batch came to an error, from the next turn on."""
        self._timer.stop()
        self._later = asyncio.get_running_loop().call_soon(self._see_to, error)

    def _end(self, outcome: bytes | Exception) -> None:
        sending = self._sending
        assert sending is not None
        self._timer.stop()
        self._sending = self._reply = self._later = None
        sending.ended(outcome)

    def _see_to(self, error: Exception) -> None:
        """Do what an error asks for: another try, unless another would come to the same."""
        sending, text = self._sending, str(error)
        assert sending is not None
        if isinstance(error, NoScriptError) and not sending.as_text:
            # SCRIPT FLUSH, or a restart.
            sending.as_text = True
            self._ask(sending, sending.step.by_source)
        elif isinstance(error, FOR_GOOD) and sending.until < math.inf:
            # There was no connection, so nothing was sent, and waiting will not help.
            self._give_up(sending, text)
        elif isinstance(error, ConnectionError | TimeoutError):
            sending.executed |= not isinstance(error, _NOT_EXECUTED)
            self._try_again(sending, text)
        elif not isinstance(error, ResponseError):
            self._end(error)
        elif is_for_now(error):
            self._try_again(sending, text)
        elif "WRITERREFUSED" in text:
            self._try_renamed(sending, text)
        else:
            self._explain(error)

    def _try_again(self, sending: _Sending, reason: str) -> None:
        sending.tries += 1
        pause = pause_before(sending.tries)
        if time.monotonic() + pause > sending.until:
            self._give_up(sending, reason)
        else:
            loop = asyncio.get_running_loop()
            self._later = loop.call_later(pause, self._try, sending)

    def _give_up(self, sending: _Sending, reason: str) -> None:
        outcome: Sent = "unknown" if sending.executed else "not_sent"
        self._end(RedisUnavailable(self._where, reason, outcome=outcome, request=self._request))

    def _try_renamed(self, sending: _Sending, text: str) -> None:
        # Somebody sends under our id. Under a new one the batch goes through,
        # unless an earlier try of it may already have been applied.
        self._rename()
        if sending.executed:
            self._end(WriterRefused(text))
            return
        self._number, step = 1, sending.step
        step.keys[0], step.args[1] = self._keys.writer(self._writer), self._number
        self._try_again(sending, text)

    def _explain(self, error: ResponseError) -> None:
        """End with what an error means."""
        if (known := meaning(error, self._keys, self._where)) is not None:
            self._end(known)
        elif is_foreign_value(error):
            self._later = looking = asyncio.get_running_loop().create_task(self._wrong_key())
            looking.add_done_callback(self._found)
        else:
            self._end(TaskManagerError(f"Redis at {self._where} refused a batch: {error}"))

    def _found(self, looking: asyncio.Task[BrokenKey]) -> None:
        if looking is not self._later:
            return
        # Somebody may cancel all tasks, to end the loop for example.
        is_cut_off = looking.cancelled()
        self._end(BrokenKey(self._keys.pattern) if is_cut_off else looking.result())

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
