"""One socket to Redis after its login: bytes out, replies in, in order."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple, TypeAlias, cast

import hiredis
from redis._parsers import BaseParser
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError, InvalidResponse, RedisError
from redis.exceptions import TimeoutError as ReplyTimeout

from consumers.connections.connector import CONNECT_TIMEOUT, Connector
from consumers.connections.era import Era
from consumers.connections.forks import close_in_children
from consumers.connections.greeting import greet
from consumers.connections.not_now import is_of_a_replica, of_the_login

# A second look before a silent connection is dropped: when the event loop was
# blocked (or the process stopped), the reply may be waiting in the socket.
GRACE = 0.1

CLOSED = "the connection was closed"
OUTDATED = "the server is now a replica"

Argument: TypeAlias = bytes | str | int | float

_MORE = object()


class Packed(NamedTuple):
    """Some arguments of a command as they are sent, and how many they are."""

    number: int
    sent: bytes


def pack_arguments(arguments: Sequence[Argument]) -> Packed:
    """Return arguments as they are sent; numbers are sent as text.

    Raises TypeError for other types of arguments.
    """
    packed = pack(arguments)
    return Packed(len(arguments), packed[packed.index(b"\n") + 1 :])


def pack(command: Sequence[Argument], rest: Packed | None = None) -> bytes:
    """Return the bytes that a command is sent as, with the rest of its arguments behind it.

    Before a rest there may be no floats but the last two arguments.
    Raises TypeError for arguments that are neither text nor numbers.
    """
    if rest is not None:
        # The batches of a writer have the same head but for its last two, their number and digest.
        head, (_, own) = _packed_once(*command[:-2]), pack_arguments(command[-2:])
        return b"*%d\r\n%b%b%b" % (len(command) + rest.number, head, own, rest.sent)
    packed: bytes = hiredis.pack_command(tuple(command))  # type: ignore[arg-type]  # it means any
    return packed


# Typed: 1 equals 1.0, and is sent as another text. So do 0.0 and -0.0, of one type.
@lru_cache(maxsize=64, typed=True)
def _packed_once(*arguments: Argument) -> bytes:
    return pack_arguments(arguments).sent


class Link(asyncio.Protocol):
    """A connection that is used once: it never reconnects, its owner makes a new one.

    So a late callback can only concern the link it belongs to. Subclasses say
    what becomes of a reply and of the loss. There is no reader task and
    nothing to cancel: replies are parsed where the event loop delivers bytes,
    which saves a task switch (and a turn of the loop) a read.
    """

    def __init__(self, *, patience: float) -> None:
        self.patience = patience
        self.paused = False
        # The server's number of the connection; None where nobody tells.
        self.client_id: int | None = None
        self.is_cluster = False
        # Why the link was given up; None while it is in use.
        self.error: RedisError | None = None
        # Done when the socket is closed, some turns of the loop after the drop.
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._loop = asyncio.get_running_loop()
        self._reader = hiredis.Reader(
            protocolError=InvalidResponse, replyError=BaseParser.parse_error, notEnoughData=_MORE
        )
        self._era: Era | None = None
        self._born = 0
        self._writer: asyncio.StreamWriter | None = None
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._heard = 0
        self._suspected = -1

    # What a subclass says

    def replied(self, reply: Any) -> None:
        """Take the next reply; error replies are values of type RedisError."""
        raise NotImplementedError

    def lost(self, error: RedisError) -> None:
        """Take note that no reply will come any more; called once."""
        raise NotImplementedError

    def writable(self) -> None:
        """Called when the socket takes bytes again after it was paused."""

    def waiting_since(self) -> float | None:
        """Return the loop time since when a reply is due, None when none is."""
        return None

    # What its owner does

    @property
    def connected(self) -> bool:
        """Whether the link is in use: connected, and not given up."""
        return self._transport is not None and self.error is None

    @property
    def outdated(self) -> bool:
        """Whether the link may lead to what was the primary when it was made."""
        return self._era is not None and self._era.number != self._born

    def fileno(self) -> int:
        """Return the descriptor of the socket; -1 when there is none in use."""
        if self._transport is None or self.error is not None or self._loop.is_closed():
            return -1
        descriptor: int = self._transport.get_extra_info("socket").fileno()
        return descriptor

    async def connect(self, connector: Connector, name: str | None) -> None:
        """Connect, log in and say our name, once, in at most CONNECT_TIMEOUT seconds.

        Raises redis.exceptions.ConnectionError (AuthenticationError and WrongServer
        are some), whatever the reason. Cancelling it leaves nothing open.
        """
        self._era, self._born = connector.era, connector.era.number
        connection = connector.open()
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                await connection.connect()  # type: ignore[no-untyped-call]
                self.client_id, self.is_cluster = await greet(connection, name)
        except ConnectionError as error:
            raise of_the_login(error) from error.__cause__
        except TimeoutError:
            raise ConnectionError(f"no connection within {CONNECT_TIMEOUT:g} s") from None
        except (RedisError, OSError) as error:
            raise ConnectionError(str(error)) from error
        else:
            # Nothing is awaited between the take-over and our caller.
            self._take_over(connection)
        finally:
            # Does nothing after the take-over: the connection is empty.
            await connection.disconnect(nowait=True)

    def write(self, data: bytes) -> None:
        """Send bytes as soon as the socket takes them; a dropped link ignores them."""
        if self._transport is not None and self.error is None:
            self._transport.write(data)

    def heed(self, refusal: RedisError) -> None:
        """See whether an error reply says that the server is no primary any more."""
        if self._era is not None and is_of_a_replica(refusal):
            self._era.end(self._born, str(refusal))

    def watch(self) -> None:
        """Drop the link when what it waits for is not answered within its patience (s).

        One timer a link, armed again lazily: none is made for a command.
        """
        since = self.waiting_since()
        if since is None or self.error is not None:
            return
        due = since + self.patience
        if self._timer is not None:
            if self._timer.when() <= due:
                return
            self._timer.cancel()
        self._timer = self._loop.call_at(due, self._look)

    def drop(self, error: RedisError) -> None:
        """Give the connection up: what waits is failed with error. Idempotent."""
        if self.error is not None:
            return
        self.error = error
        if self._timer is not None:
            self._timer.cancel()
        if self._transport is not None:
            self._transport.abort()
        self.lost(error)

    async def close(self) -> None:
        """Drop the link and wait until its socket is closed. Idempotent."""
        self.drop(ConnectionError(CLOSED))
        if self._transport is not None:
            # Some turns of the loop; the limit is for a TLS peer that plays dead.
            await asyncio.wait({self.closed}, timeout=1.0)

    # What asyncio calls

    def data_received(self, data: bytes) -> None:
        """Take every reply that is whole."""
        self._heard += 1
        next_reply = self._reader.gets
        try:
            self._reader.feed(data)
            while (reply := next_reply()) is not _MORE:
                self.replied(reply)
        except InvalidResponse as error:
            self.drop(ConnectionError(f"the reply cannot be read: {error}"))

    def pause_writing(self) -> None:
        """Note that the socket takes no more bytes for now."""
        self.paused = True

    def resume_writing(self) -> None:
        """Note that the socket takes bytes again."""
        self.paused = False
        if self.error is None:
            self.writable()

    def eof_received(self) -> None:
        """Drop the link: the server has nothing more to say."""
        self.drop(ConnectionError("the server closed the connection"))

    def connection_lost(self, error: Exception | None) -> None:
        """Drop the link: its socket is closed."""
        if not self.closed.done():
            self.closed.set_result(None)
        self.drop(ConnectionError(f"the connection was lost: {error or 'closed'}"))

    # The rest

    def _take_over(self, connection: AbstractConnection) -> None:
        # The only place that reaches into redis-py: after the login the socket
        # is ours, and its connection object is empty and may go.
        reader, writer = connection._reader, connection._writer
        connection._reader = connection._writer = None
        assert reader is not None
        assert writer is not None
        # The end may have come between the login and here: nobody would tell us again.
        if self.error is not None or reader.at_eof() or writer.transport.is_closing():
            writer.transport.abort()
            raise self.error or ConnectionError("the server closed the connection")
        # A StreamWriter that is collected closes its transport: keep it.
        self._writer = writer
        self._transport = cast("asyncio.Transport", writer.transport)
        self._transport.set_protocol(self)
        close_in_children(self)

    def _look(self) -> None:
        self._timer = None
        since = self.waiting_since()
        if since is None or self.error is not None:
            return
        if since + self.patience > self._loop.time():
            self.watch()
        elif self._suspected == self._heard:
            self.drop(ReplyTimeout(f"no reply within {self.patience:g} s"))
        else:
            self._suspected = self._heard
            self._timer = self._loop.call_later(GRACE, self._look)
