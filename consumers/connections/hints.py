"""Listen to the hints of queues. A hint is never the truth: losing one costs time, nothing else."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping
from typing import Any

from redis.exceptions import ConnectionError, RedisError
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_exponential

from consumers.chance import chance
from consumers.connections.connector import Connector
from consumers.connections.link import OUTDATED, Link, pack
from consumers.connections.trouble import Trouble

logger = logging.getLogger("taskmanager.redis")

# A firewall that forgot the connection says nothing: only a question tells.
PING_INTERVAL = 5.0
# Two pings without an answer.
SILENCE_LIMIT = 10.0

_PING = pack((b"PING",))
_LONGEST = wait_exponential(multiplier=0.1, max=2.0)


class Hints:
    """Calls back for what is published to its channels, from start to stop.

    on_hint(queue, hint) runs on the event loop and must not block; its errors
    are logged. After each interruption on_reconnect() is called once the channels
    are subscribed again: what was published meanwhile is lost, read the truth.
    """

    def __init__(
        self,
        connector: Connector,
        channels: Mapping[str, str],
        *,
        on_hint: Callable[[str, str], None],
        on_reconnect: Callable[[], None],
        name: str | None = None,
        ping_interval: float = PING_INTERVAL,
        silence_limit: float = SILENCE_LIMIT,
    ) -> None:
        self.connector = connector
        self.name = name
        self.ping_interval = ping_interval
        self.silence_limit = silence_limit
        self.subscribed = asyncio.Event()
        self._queues = {channel.encode(): queue for channel, queue in channels.items()}
        self._on_hint = on_hint
        self._on_reconnect = on_reconnect
        self._serving: asyncio.Task[None] | None = None
        self._subscription: _Subscription | None = None
        self._was_subscribed = False
        self._stopped = False
        self._trouble = Trouble(logger, f"no notification connection to Redis at {self.where}")

    @property
    def where(self) -> str:
        """Where Redis is; safe for logs."""
        return self.connector.where

    def add(self, channel: str, queue: str) -> None:
        """Listen to one more channel; ``subscribed`` is set again once all are confirmed."""
        self._queues[channel.encode()] = queue
        self.subscribed.clear()
        if self._subscription is not None:
            self._subscription.add(channel.encode())

    async def run(self) -> None:
        """Listen until stop; reconnects with a growing, jittered pause of at most 2 seconds."""
        if self._stopped:
            return
        self._serving = asyncio.create_task(self._serve(), name="hints")
        try:
            await asyncio.wait({self._serving})
        finally:
            self._serving.cancel()
            await asyncio.wait({self._serving})
        if not self._serving.cancelled():
            self._serving.result()

    def stop(self) -> None:
        """Let run return soon, its connection closed. Idempotent; before run it prevents it."""
        self._stopped = True
        if self._serving is not None:
            self._serving.cancel()

    async def _serve(self) -> None:
        retrying = AsyncRetrying(
            wait=_pause,
            retry=retry_if_exception_type(RedisError),
            before_sleep=self._log_retry,
        )
        while True:
            subscription: _Subscription = await retrying(self._subscribe)
            try:
                await self._listen(subscription)
            finally:
                self._subscription = None
                self.subscribed.clear()
                await subscription.close()
            logger.warning(
                "lost the notification connection to Redis at %s: %s",
                self.where, subscription.error,
            )  # fmt: skip
            # A server that restarts must not meet its whole fleet at one moment.
            await asyncio.sleep(chance.uniform(0.02, 0.2))

    async def _subscribe(self) -> _Subscription:
        subscription = _Subscription(self._received, self.subscribed.set, self.silence_limit)
        await subscription.connect(self.connector, self.name)
        try:
            self._subscription = subscription
            await subscription.subscribe(self._queues)
        except BaseException:
            self._subscription = None
            self.subscribed.clear()
            await subscription.close()
            raise
        return subscription

    async def _listen(self, subscription: _Subscription) -> None:
        self._trouble.over()
        if self._was_subscribed:
            logger.info("the notification connection to Redis at %s is back", self.where)
            _call(self._on_reconnect)
        self._was_subscribed = True
        while not subscription.closed.done():
            await asyncio.wait({subscription.closed}, timeout=self.ping_interval)
            # A replica answers pings, and may pass on what its primary publishes, or not.
            if subscription.outdated:
                subscription.drop(ConnectionError(OUTDATED))
            subscription.write(_PING)

    def _received(self, channel: bytes, payload: bytes) -> None:
        queue = self._queues.get(channel)
        if queue is not None and not self._stopped:
            _call(self._on_hint, queue, payload.decode(errors="replace"))

    def _log_retry(self, state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome is not None else None
        if isinstance(error, RedisError):
            self._trouble.say(error)


class _Subscription(Link):
    """One connection of a listener; confirmed is called when no channel is missing."""

    def __init__(
        self,
        deliver: Callable[[bytes, bytes], None],
        confirmed: Callable[[], None],
        silence_limit: float,
    ) -> None:
        super().__init__(patience=silence_limit)
        self._missing = 0
        self._deliver = deliver
        self._confirmed = confirmed
        self._ready: asyncio.Future[None] = self._loop.create_future()
        self._heard_at: float | None = None

    async def subscribe(self, channels: Collection[bytes]) -> None:
        """Return when the server has confirmed every channel."""
        self._heard_at = self._loop.time()
        self.watch()
        self.add(*channels)
        await self._ready

    def add(self, *channels: bytes) -> None:
        """Subscribe to more channels."""
        self._missing += len(channels)
        self.write(pack((b"SUBSCRIBE", *channels)))

    def replied(self, reply: Any) -> None:
        self._heard_at = self._loop.time()
        if isinstance(reply, RedisError):
            self.drop(reply)
        elif reply[0] == b"message":
            self._deliver(reply[1], reply[2])
        elif reply[0] == b"subscribe":
            self._missing -= 1
            if self._missing == 0:
                self._confirm()

    def _confirm(self) -> None:
        self._confirmed()
        if not self._ready.done():
            self._ready.set_result(None)

    def waiting_since(self) -> float | None:
        # Always waiting: a healthy server answers the pings.
        return self._heard_at

    def lost(self, error: RedisError) -> None:
        if not self._ready.done():
            self._ready.set_exception(error)


def _pause(state: RetryCallState) -> float:
    # Full jitter, but not tenacity's: that draws from the application's generator.
    return chance.uniform(0.0, float(_LONGEST(state)))


def _call(callback: Callable[..., None], *args: str) -> None:
    try:
        callback(*args)
    except Exception:
        # A callback that fails has missed one hint; the others need the channel.
        logger.exception("could not handle a notification: %s", args)
