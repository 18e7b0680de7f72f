"""A TCP proxy before Redis that breaks in the ways networks break."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections import Counter, deque
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from consumers.store.scripts import Script
from tests.support.resp import arguments, did_something, frames, is_pushed, name_of

T = TypeVar("T")

_CHUNK = 256 * 1024
# SO_LINGER with 0 s: closing sends a reset instead of a polite end.
_RESET = struct.pack("ii", 1, 0)
_SUBSCRIBES = frozenset({"SUBSCRIBE", "PSUBSCRIBE", "SSUBSCRIBE"})
# A narrow line passes what fits into so many seconds at a time.
_NARROW_STEP = 0.05


class _Drop:
    """How many replies to which requests are still to be lost; name is what they are asked by.

    asked has commands, each with what one of its arguments must contain.
    """

    def __init__(self, name: str, times: int, *asked: tuple[str, bytes | None]) -> None:
        self.name = name
        self.left = times
        self._asked = [(command.upper(), part) for command, part in asked]

    def takes(self, request: list[bytes], reply: bytes) -> bool:
        return self.left > 0 and self._is_asked(request) and did_something(reply)

    def _is_asked(self, request: list[bytes]) -> bool:
        name = name_of(request)
        return any(
            command == name and (part is None or any(part in word for word in request))
            for command, part in self._asked
        )


class FaultProxy:
    """Passes everything until told otherwise, for every connection alike.

    Use it as a context manager and hand its url to what is tested. Each method
    has taken effect when it returns. Modes: pass_all, drop_reply, drop_reply_of,
    reset_on, swallow, refuse, mute_pubsub, latency, bandwidth, slices, and
    reset_all for once; keep_replies ends what drop_reply and drop_reply_of began,
    pass_all ends them all. Where lead_to leads is no mode: it lasts.
    dropped counts the replies that were lost, lost the
    same by the name of the script or command, refused the connections that
    were, requests what was asked by command name, resets what is still to be
    reset on by command name, open the connections, dead those of them that have
    lost a byte.
    """

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        self.port = 0
        self.lost: Counter[str] = Counter()
        self.refused = 0
        self.requests: Counter[str] = Counter()
        self._upstream = (host, port)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fault-proxy")
        self._connections: dict[_Connection, asyncio.Task[None]] = {}
        self._server: asyncio.Server | None = None
        self.drops: list[_Drop] = []
        self.resets: Counter[str] = Counter()
        self.swallowing: bool = False
        self.refusing: bool = False
        self.muted: bool = False
        self.delay: float = 0.0
        self.rate: float | None = None
        self.slicing: bool = False

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def dropped(self) -> int:
        return self.lost.total()

    @property
    def open(self) -> int:
        return len(self._connections)

    @property
    def dead(self) -> int:
        return sum(connection.dead for connection in list(self._connections))

    def __enter__(self) -> FaultProxy:
        self._thread.start()
        self._await(self._listen())
        return self

    def __exit__(self, *_: object) -> None:
        self._await(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def pass_all(self) -> None:
        """End every mode. Connections that lost bytes stay dead, as behind a real network."""

        def act() -> None:
            self.drops.clear()
            self.resets.clear()
            self.swallowing = self.refusing = self.muted = self.slicing = False
            self.delay, self.rate = 0.0, None

        self._call(act)

    def drop_reply(
        self, command: str, times: int = 1, *, containing: bytes | str | None = None
    ) -> None:
        """Let the next `times` requests of a command execute, then lose the reply and reset.

        Nil and error replies pass: there the server has done nothing that could
        be lost. With `containing`, one argument of the request must contain it.
        """
        part = containing.encode() if isinstance(containing, str) else containing
        self._call(lambda: self.drops.append(_Drop(command.upper(), times, (command, part))))

    def drop_reply_of(self, script: Script, times: int = 1) -> None:
        """Lose replies likewise, to the next calls of a script by its digest or its text."""
        asked = (("EVALSHA", script.sha.encode()), ("EVAL", script.source.encode()))
        self._call(lambda: self.drops.append(_Drop(script.name, times, *asked)))

    def keep_replies(self) -> None:
        """Lose no more replies: what was not asked for meanwhile is not lost later."""
        self._call(self.drops.clear)

    def reset_on(self, command: str, times: int = 1) -> None:
        """Reset the connections of the next `times` requests of a command, before they execute."""
        self._call(lambda: self.resets.update({command.upper(): times}))

    def swallow(self) -> None:
        """Half-open: connections stay open and new ones are accepted, but no byte passes."""

        def act() -> None:
            self.swallowing = True

        self._call(act)

    def refuse(self) -> None:
        """Reset every connection, and each new one as soon as it is made."""

        def act() -> None:
            self.refusing = True
            self._reset_all()

        self._call(act)

    def lead_to(self, port: int) -> None:
        """Lead new connections to another port of the host; those that are open stay."""

        def act() -> None:
            self._upstream = (self._upstream[0], port)

        self._call(act)

    def reset_all(self) -> None:
        """Reset every connection that is open now."""
        self._call(self._reset_all)

    def mute_pubsub(self) -> None:
        """Subscribing works and is confirmed, but no message is ever pushed."""

        def act() -> None:
            self.muted = True

        self._call(act)

    def latency(self, seconds: float) -> None:
        """Delay what the client sends by so much; the order stays."""

        def act() -> None:
            self.delay = seconds

        self._call(act)

    def bandwidth(self, bytes_per_second: float) -> None:
        """Pass so many bytes a second, each way and for each connection."""

        def act() -> None:
            self.rate = bytes_per_second

        self._call(act)

    def slices(self) -> None:
        """Pass every byte both ways in a packet of its own."""

        def act() -> None:
            self.slicing = True

        self._call(act)

    def take_reset(self, request: list[bytes]) -> bool:
        """Whether this request is to be met with a reset; counts it when it is."""
        name = name_of(request)
        if not self.resets[name]:
            return False
        self.resets[name] -= 1
        return True

    def take_drop(self, request: list[bytes], reply: bytes) -> bool:
        """Whether this reply is to be lost; counts it when it is."""
        for drop in self.drops:
            if drop.takes(request, reply):
                drop.left -= 1
                self.lost[drop.name] += 1
                return True
        return False

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, limit=_CHUNK)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        assert self._server is not None
        self._server.close()
        tasks = list(self._connections.values())
        self._reset_all()
        await asyncio.gather(*tasks, return_exceptions=True)
        # One more turn lets the transports finish closing their sockets.
        await asyncio.sleep(0)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.refusing:
            self.refused += 1
            _reset(writer)
            return
        try:
            up_reader, up_writer = await asyncio.open_connection(*self._upstream, limit=_CHUNK)
        except OSError:
            _reset(writer)
            return
        connection = _Connection(self, reader, writer, up_reader, up_writer)
        task = asyncio.current_task()
        assert task is not None
        self._connections[connection] = task
        try:
            await connection.run()
        finally:
            del self._connections[connection]

    def _reset_all(self) -> None:
        for connection in self._connections:
            connection.reset()

    def _call(self, act: Callable[[], None]) -> None:
        async def run() -> None:
            act()

        self._await(run())

    def _await(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(10)


class _Connection:
    """One client and its connection to Redis; pairs each reply with its request."""

    def __init__(
        self,
        proxy: FaultProxy,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        up_reader: asyncio.StreamReader,
        up_writer: asyncio.StreamWriter,
    ) -> None:
        self._proxy = proxy
        self._client = (reader, writer)
        self._redis = (up_reader, up_writer)
        self._waiting: deque[list[bytes]] = deque()
        # Replies to subscriptions are not one a request, so they are not paired.
        self._subscribed = False
        self.dead = False

    async def run(self) -> None:
        directions = [
            asyncio.ensure_future(self._pump_requests()),
            asyncio.ensure_future(self._pump_replies()),
        ]
        await asyncio.wait(directions, return_when=asyncio.FIRST_COMPLETED)
        for direction in directions:
            direction.cancel()
        await asyncio.gather(*directions, return_exceptions=True)
        self._client[1].close()
        self._redis[1].close()

    def reset(self) -> None:
        _reset(self._client[1])
        self._redis[1].close()

    async def _pump_requests(self) -> None:
        reader, writer = self._client[0], self._redis[1]
        buffer = bytearray()
        with contextlib.suppress(OSError):
            while data := await reader.read(_CHUNK):
                buffer += data
                asked = list(frames(buffer))
                if self._proxy.delay:
                    await asyncio.sleep(self._proxy.delay)
                if self._loses_bytes():
                    continue
                for frame in asked:
                    request = arguments(frame)
                    if self._proxy.take_reset(request):
                        self.reset()
                        return
                    self._note(request)
                    await self._pass(frame, writer)
                await writer.drain()

    async def _pump_replies(self) -> None:
        reader, writer = self._redis[0], self._client[1]
        buffer = bytearray()
        with contextlib.suppress(OSError):
            while data := await reader.read(_CHUNK):
                buffer += data
                for frame in frames(buffer):
                    if self._loses_bytes():
                        continue
                    if not await self._forward(frame, writer):
                        return
                await writer.drain()

    async def _forward(self, frame: bytes, writer: asyncio.StreamWriter) -> bool:
        """Pass one reply; False when it was dropped and the connection reset."""
        if self._subscribed or frame.startswith(b">"):
            if not (self._proxy.muted and is_pushed(frame)):
                await self._pass(frame, writer)
            return True
        request = self._waiting.popleft() if self._waiting else []
        if self._proxy.take_drop(request, frame):
            self.reset()
            return False
        await self._pass(frame, writer)
        return True

    async def _pass(self, frame: bytes, writer: asyncio.StreamWriter) -> None:
        proxy = self._proxy
        if proxy.rate is None and not proxy.slicing:
            writer.write(frame)
            return
        size = 1 if proxy.slicing else max(1, int((proxy.rate or 0) * _NARROW_STEP))
        for at in range(0, len(frame), size):
            if writer.is_closing():
                return
            writer.write(frame[at : at + size])
            await writer.drain()
            # Asked anew for each piece: the mode may have ended meanwhile.
            await asyncio.sleep(size / proxy.rate if proxy.rate else 0)

    def _note(self, request: list[bytes]) -> None:
        name = name_of(request)
        self._proxy.requests[name] += 1
        if name in _SUBSCRIBES:
            self._subscribed = True
        self._waiting.append(request)

    def _loses_bytes(self) -> bool:
        """Whether this connection is dead; once a byte was lost it stays so."""
        self.dead = self.dead or self._proxy.swallowing
        return self.dead


def _reset(writer: asyncio.StreamWriter) -> None:
    sock = writer.get_extra_info("socket")
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    writer.transport.abort()
