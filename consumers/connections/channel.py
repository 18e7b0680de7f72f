"""One connection with one question at a time: for reads that block, and for a thread of its own."""

from __future__ import annotations

import asyncio
import time
from typing import Any, TypeAlias

from redis.connection import AbstractConnection
from redis.exceptions import ConnectionError, RedisError, ResponseError
from redis.exceptions import TimeoutError as ReplyTimeout

from consumers.connections.connector import Connector
from consumers.connections.forks import close_in_children
from consumers.connections.greeting import Greeted, greeting
from consumers.connections.link import CLOSED, OUTDATED, Link, pack
from consumers.connections.not_now import NotNow, is_of_a_replica

Command: TypeAlias = tuple[bytes | str | int | float, ...]


class Channel:
    """Asks over one connection of the event loop, made when it is first needed.

    A question that times out, breaks or is cancelled costs the connection, so
    that its reply can never be taken for the next one's.
    """

    def __init__(self, connector: Connector, *, name: str | None) -> None:
        self.connector = connector
        self.name = name
        # Whether the server is in cluster mode, as the last connection was told.
        self.is_cluster = False
        self._exchange: _Exchange | None = None
        self._asking = False
        self._closed = False

    @property
    def connected(self) -> bool:
        """Whether there is a connection now."""
        return self._exchange is not None and self._exchange.connected

    @property
    def client_id(self) -> int | None:
        """The server's number of the connection, for CLIENT UNBLOCK; None without one."""
        exchange = self._exchange
        return exchange.client_id if exchange is not None and exchange.connected else None

    async def ask(self, *commands: Command, timeout: float) -> list[Any]:
        """Send the commands in one write and return a reply each, ResponseErrors as values.

        Raises redis.exceptions.TimeoutError when the replies did not come within
        timeout seconds and ConnectionError when the connection could not be made
        or broke; in both cases the commands may have been executed. Connecting
        comes on top, with a limit of its own (CONNECT_TIMEOUT).
        Raises RuntimeError while another question is open.
        """
        if self._asking:
            raise RuntimeError("a channel takes one question at a time: await the first one")
        packed = b"".join([pack(command) for command in commands])
        self._asking = True
        try:
            exchange = self._still_good() or await self._connect()
            return await exchange.ask(packed, len(commands), timeout)
        finally:
            self._asking = False

    async def close(self) -> None:
        """Close the connection; an open question fails, later ones too. Idempotent."""
        self._closed = True
        if self._exchange is not None:
            await self._exchange.close()

    def _still_good(self) -> _Exchange | None:
        """Return the connection, unless it ended or may lead to a former primary."""
        exchange = self._exchange
        if exchange is None or not exchange.connected:
            return None
        if exchange.outdated:
            exchange.drop(ConnectionError(OUTDATED))
            return None
        return exchange

    async def _connect(self) -> _Exchange:
        if self._closed:
            raise ConnectionError(CLOSED)
        # Known before it connects, so that close ends it at any moment.
        self._exchange = exchange = _Exchange()
        await exchange.connect(self.connector, self.name)
        self.is_cluster = exchange.is_cluster
        return exchange


class _Exchange(Link):
    """One connection of a channel and the question that is open on it."""

    def __init__(self) -> None:
        super().__init__(patience=0.0)
        self._answer: asyncio.Future[list[Any]] | None = None
        self._asked_at: float | None = None
        self._expected = 0
        self._replies: list[Any] = []

    async def ask(self, packed: bytes, count: int, timeout: float) -> list[Any]:
        if self.error is not None:
            raise self.error
        self._answer = self._loop.create_future()
        self._asked_at = self._loop.time()
        self._expected, self._replies = count, []
        self.patience = timeout
        self.watch()
        self.write(packed)
        try:
            return await self._answer
        except asyncio.CancelledError:
            self.drop(ConnectionError("the request was cancelled"))
            raise

    def replied(self, reply: Any) -> None:
        if self._asked_at is None or self._answer is None:
            self.drop(ConnectionError("the server sent an unexpected reply"))
        elif isinstance(reply, RedisError):
            self._refuse(reply, self._answer)
        else:
            self._take(reply, self._answer)

    def _refuse(self, reply: RedisError, answer: asyncio.Future[list[Any]]) -> None:
        self.heed(reply)
        if is_of_a_replica(reply):
            self.drop(NotNow(str(reply)))
        # LOADING and NOAUTH: the server answers, but it is not usable.
        elif not isinstance(reply, ResponseError):
            self.drop(reply)
        else:
            self._take(reply, answer)

    def _take(self, reply: Any, answer: asyncio.Future[list[Any]]) -> None:
        self._replies.append(reply)
        if len(self._replies) == self._expected:
            self._asked_at = None
            if not answer.done():
                answer.set_result(self._replies)

    def waiting_since(self) -> float | None:
        return self._asked_at

    def lost(self, error: RedisError) -> None:
        self._asked_at = None
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)


class SyncChannel:
    """The same for one thread without an event loop. Not to be shared by threads."""

    def __init__(self, connector: Connector, *, name: str | None) -> None:
        self.connector = connector
        self.name = name
        self.client_id: int | None = None
        self._connection: AbstractConnection | None = None
        self._born = 0
        self._closed = False

    @property
    def connected(self) -> bool:
        """Whether there is a connection now."""
        return self._connection is not None

    def fileno(self) -> int:
        """Return the descriptor of the socket; -1 when there is none."""
        sock = getattr(self._connection, "_sock", None)
        return -1 if sock is None else sock.fileno()

    def ask(self, *commands: Command, timeout: float) -> list[Any]:
        """Send the commands in one write and return a reply each, ResponseErrors as values.

        Blocks for at most timeout seconds, connecting excepted (each of its steps
        takes at most timeout, at most CONNECT_TIMEOUT). Errors as Channel.ask.
        """
        packed = b"".join([pack(command) for command in commands])
        connection = self._still_open() or self._connect(timeout)
        try:
            replies = _exchange(connection, packed, len(commands), time.monotonic() + timeout)
            self._heed(replies)
            return replies
        except BaseException:
            self._drop()
            raise

    def close(self) -> None:
        """Close the connection; later questions fail. Idempotent."""
        self._closed = True
        self._drop()

    def _still_open(self) -> AbstractConnection | None:
        """Return the connection, unless it ended while it was idle or leads to a replica."""
        if self._connection is None:
            return None
        try:
            # Nobody asked, so whatever there is to be read is its end.
            over = self._is_outdated() or self._connection.can_read(timeout=0)
        except ConnectionError:
            over = True
        if over:
            self._drop()
        return self._connection

    def _connect(self, timeout: float) -> AbstractConnection:
        if self._closed:
            raise ConnectionError(CLOSED)
        self._born = self.connector.era.number
        connection = self.connector.open_sync(timeout=timeout)
        try:
            connection.connect()  # type: ignore[no-untyped-call]
            greeted = _greet(connection, self.name, time.monotonic() + timeout)
        except BaseException as error:
            connection.disconnect()  # type: ignore[no-untyped-call]
            if isinstance(error, ResponseError):
                raise ConnectionError(str(error)) from error
            raise
        self._connection, self.client_id = connection, greeted.number
        close_in_children(self)
        return connection

    def _is_outdated(self) -> bool:
        return self.connector.era.number != self._born

    def _heed(self, replies: list[Any]) -> None:
        for reply in replies:
            if isinstance(reply, RedisError) and is_of_a_replica(reply):
                self.connector.era.end(self._born, str(reply))
                raise NotNow(str(reply))

    def _drop(self) -> None:
        connection, self._connection, self.client_id = self._connection, None, None
        if connection is not None:
            connection.disconnect()  # type: ignore[no-untyped-call]


def _exchange(
    connection: AbstractConnection, packed: bytes, count: int, deadline: float
) -> list[Any]:
    connection.send_packed_command([packed], check_health=False)  # type: ignore[no-untyped-call]
    return [_reply(connection, deadline) for _ in range(count)]


def _reply(connection: AbstractConnection, deadline: float) -> Any:
    left = deadline - time.monotonic()
    if left <= 0:
        raise ReplyTimeout("no reply in time")
    try:
        return connection.read_response(timeout=left)
    except ResponseError as error:
        return error


def _greet(connection: AbstractConnection, name: str | None, deadline: float) -> Greeted:
    asking = greeting(name)
    words = next(asking)
    while True:
        [reply] = _exchange(connection, pack(words), 1, deadline)
        try:
            words = asking.send(reply)
        except StopIteration as done:
            greeted: Greeted = done.value
            return greeted
