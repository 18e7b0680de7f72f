"""One connection that many callers share: commands out in order, replies back to their futures.

Nothing that blocks in Redis may go through it: all replies behind it would wait.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any, Protocol, TypeAlias

from redis.exceptions import ConnectionError, RedisError

from consumers.connections.connector import Connector
from consumers.connections.link import CLOSED, OUTDATED, Argument, Link, Packed, pack
from consumers.connections.not_now import FOR_GOOD
from consumers.surroundings import Surroundings

_Reply: TypeAlias = "asyncio.Future[Any]"


class Receiver(Protocol):
    """What takes the reply to a command. A future is one: who awaits it goes on a turn later."""

    def done(self) -> bool:
        """Whether it takes no reply any more."""

    def set_result(self, reply: Any, /) -> None:
        """Take the reply. It may send commands, and must not raise."""

    def set_exception(self, error: Exception, /) -> None:
        """Take note that there is no other reply. It must not send commands before the next turn.

        A connection that is lost does not know yet that it is, when it says so.
        """


class NotSent(ConnectionError):
    """Raised for a command that surely never reached the server."""


class Wire:
    """Sends commands of one event loop over one connection, made when it is first needed.

    Commands leave in the order of their send, those of one turn of the loop in
    one write; the server answers in the same order. When the connection is lost,
    every command without a reply fails, sent or not: what was sent may have been
    executed. The next send makes a new connection, as it does when the server has
    become a replica. Nothing is ever sent twice.
    """

    def __init__(
        self, connector: Connector, *, name: str | None, reply_timeout: float = 10.0
    ) -> None:
        self.connector = connector
        self.name = name
        self.reply_timeout = reply_timeout
        self._pipe: _Pipe | None = None
        self._connecting: asyncio.Task[None] | None = None
        # Packed commands that are not written yet, and what takes their replies.
        self._packed: list[bytes] = []
        self._waiting: list[Receiver] = []
        self._scheduled = False
        self._closed = False
        # Why the last try to connect failed; empty once one went well.
        self.refusal = ""
        # A connection outlives the job that first sent something over it.
        self._surroundings = Surroundings()

    @property
    def connected(self) -> bool:
        """Whether there is a connection now."""
        return self._pipe is not None

    def send(self, *args: Argument) -> _Reply:
        """Send one command and return the future of its reply (bytes, int, list or None).

        Numbers are sent as text. The future fails with the server's ResponseError, or with
        redis.exceptions.ConnectionError when no connection could be made, it broke,
        or no reply came within reply_timeout seconds.
        A cancelled future does not take its command back. Raises TypeError for
        other types of arguments; then nothing is sent.
        """
        future: _Reply = asyncio.get_running_loop().create_future()
        self.post(future, args)
        return future

    def post(
        self,
        receiver: Receiver,
        args: Sequence[Argument],
        *,
        rest: Packed | None = None,
        hurry: bool = False,
    ) -> None:
        """Send one command, rest behind args, whose reply a receiver takes; see send.

        hurry writes it now if there is a connection, together with what was sent before in this
        turn of the loop.
        """
        self._packed.append(pack(args, rest))
        self._waiting.append(receiver)
        if hurry and self._pipe is not None and not self._closed:
            self._write()
        elif not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._flush)

    def withdraw(self, reply: Receiver) -> bool:
        """Take back a command that is not written yet; return whether it was not.

        Its receiver is left to the caller. Looks through all that wait: for timeouts only.
        """
        if reply not in self._waiting:
            return False
        at = self._waiting.index(reply)
        del self._waiting[at], self._packed[at]
        return True

    async def close(self) -> None:
        """Close the connection; what is in flight fails, later sends fail. Idempotent.

        Waits for no reply: await what was sent before.
        """
        self._closed = True
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.wait({self._connecting})
        pipe = self._pipe
        self._fail(ConnectionError(CLOSED))
        if pipe is not None:
            await pipe.close()

    def stop_connecting(self) -> None:
        """Give a connection up that is being made, unless somebody waits for a reply."""
        if self._connecting is not None and all(it.done() for it in self._waiting):
            self._connecting.cancel()

    def _flush(self) -> None:
        self._scheduled = False
        if self._closed:
            self._fail(ConnectionError(CLOSED))
        else:
            self._write()

    def _write(self) -> None:
        if self._pipe is not None and self._pipe.outdated:
            self._leave(self._pipe)
        if self._pipe is None:
            self._connect_soon()
        # A paused socket calls back: meanwhile everything joins the next write.
        elif not self._pipe.paused and self._packed:
            packed, self._packed = self._packed, []
            waiting, self._waiting = self._waiting, []
            self._pipe.put(b"".join(packed), waiting)

    def _leave(self, pipe: _Pipe) -> None:
        """Give a connection up; what was not written yet goes over the next one."""
        self._pipe = None
        pipe.drop(ConnectionError(OUTDATED))

    def _connect_soon(self) -> None:
        # Done: a task that is cancelled before its first step tidies nothing up.
        if (self._connecting is None or self._connecting.done()) and self._waiting:
            connecting = self._connect()
            self._connecting = self._surroundings.fresh().run(
                asyncio.create_task, connecting, name="redis-connect"
            )

    async def _connect(self) -> None:
        pipe = _Pipe(self)
        try:
            await pipe.connect(self.connector, self.name)
        except ConnectionError as error:
            self.refusal = str(error)
            self._fail(error)
        except BaseException:
            self._fail(ConnectionError("the connection attempt was cancelled"))
            raise
        else:
            self.refusal = ""
            self._pipe = pipe
        finally:
            self._connecting = None
        self._flush()

    def _lost(self, pipe: _Pipe, error: RedisError) -> None:
        if pipe is self._pipe:
            self._pipe = None
            self._fail(error)

    def _fail(self, error: RedisError) -> None:
        waiting, self._waiting = self._waiting, []
        self._packed = []
        _fail_all(waiting, error, NotSent)


class _Pipe(Link):
    """One connection of a wire with what is in flight on it."""

    def __init__(self, wire: Wire) -> None:
        super().__init__(patience=wire.reply_timeout)
        self._wire = wire
        self._in_flight: deque[Receiver] = deque()
        self._sent = 0
        # (commands sent up to and with this write, when it was written)
        self._writes: deque[tuple[int, float]] = deque()

    def put(self, data: bytes, receivers: list[Receiver]) -> None:
        self._in_flight.extend(receivers)
        self._sent += len(receivers)
        self._writes.append((self._sent, self._loop.time()))
        if self._timer is None:
            self.watch()
        self.write(data)

    def replied(self, reply: Any) -> None:
        if not self._in_flight:
            self.drop(ConnectionError("the server sent an unexpected reply"))
            return
        receiver = self._in_flight.popleft()
        if isinstance(reply, RedisError):
            self._refuse(receiver, reply)
        # Cancelled by its caller, it kept its place so that this reply meets no other.
        elif not receiver.done():
            receiver.set_result(reply)

    def _refuse(self, receiver: Receiver, error: RedisError) -> None:
        self.heed(error)
        if not receiver.done():
            receiver.set_exception(error)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        answered, writes = self._sent - len(self._in_flight), self._writes
        while writes and writes[0][0] <= answered:
            writes.popleft()

    def waiting_since(self) -> float | None:
        return self._writes[0][1] if self._writes else None

    def writable(self) -> None:
        self._wire._flush()

    def lost(self, error: RedisError) -> None:
        in_flight, self._in_flight = self._in_flight, deque()
        self._writes.clear()
        _fail_all(in_flight, error, ConnectionError)
        self._wire._lost(self, error)


def _fail_all(
    receivers: Iterable[Receiver], error: RedisError, kind: type[ConnectionError]
) -> None:
    if isinstance(error, FOR_GOOD):
        kind = type(error)
    for receiver in receivers:
        if not receiver.done():
            # One exception each: a traceback is written into the exception it is of.
            receiver.set_exception(kind(str(error)))
            # Who gave up waiting must not be told by a log line at its collection.
            if isinstance(receiver, asyncio.Future):
                receiver.exception()
