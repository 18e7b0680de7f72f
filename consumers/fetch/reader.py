"""Read the streams: one connection that may block, and what its error replies mean."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

from redis.exceptions import ConnectionError, ResponseError, TimeoutError

from consumers.connections.channel import Channel, Command
from consumers.connections.connector import Connector
from consumers.connections.not_now import is_for_now, told_apart
from consumers.connections.trouble import Trouble
from consumers.fetch.levels import Levels
from consumers.store.batching import chunks
from consumers.store.delivery import Delivery, Stream, delivery_of
from consumers.store.keys import Keys
from consumers.store.leasing import renew
from consumers.store.refusals import is_foreign_value
from consumers.store.scripts import Call, ask
from consumers.store.tending import repair

logger = logging.getLogger("taskmanager.worker")

# How long a read may block. A blocked 6.2 server does not notice FLUSHALL, so
# this is also how late that is noticed.
BLOCK = 2.0
# And how long where it cannot be woken: so late are new lanes and pauses noticed. And jobs of
# other queues, where a read can only block on one.
BLOCK_UNWOKEN = 0.25
# How much longer than it asked to block a read may take before its connection is given up.
PATIENCE = 10.0
_WRONG_TYPE_PAUSE = 5.0
_NO_GROUP = re.compile(r"No such key '(.*?)' or consumer group '(.*?)'")


class Reader:
    """Reads for one consumer; one question at a time, never cancelled in the middle.

    on_repaired is called when a stream was repaired: jobs may have gone with it.
    """

    def __init__(
        self,
        connector: Connector,
        levels: Levels,
        *,
        group: str,
        consumer: str,
        on_repaired: Callable[[], None],
    ) -> None:
        self.channel = Channel(connector, name=f"reader-{consumer}")
        self.levels = levels
        self.group = group
        self.consumer = consumer
        # Set when an answer says that the list of lanes is out of date.
        self.outdated = False
        self._wrong_type: dict[str, float] = {}
        self._on_repaired = on_repaired
        # The connection for which CLIENT UNBLOCK was refused.
        self._sleeper: int | None = None
        # Which of several queues is blocked on, where that is one at a time.
        self._turns = 0
        self._trouble = Trouble(logger, "reading jobs failed", logging.ERROR)

    @property
    def block(self) -> float:
        """The longest that a read may block, in seconds."""
        return BLOCK if self.can_be_woken else BLOCK_UNWOKEN

    @property
    def can_be_woken(self) -> bool:
        """Whether a read that blocks can be ended from outside, as far as was tried."""
        client = self.channel.client_id
        return not self.channel.connected or client not in (None, self._sleeper)

    def cannot_be_woken(self, client: int, error: ResponseError) -> None:
        """Take note that Redis does not let us end the reads of this connection."""
        if client != self._sleeper:
            self._sleeper = client
            logger.info(
                "blocking reads last only %g s because Redis does not let them be interrupted: %s",
                BLOCK_UNWOKEN,
                error,
            )

    async def read(
        self, streams: Sequence[Stream], count: int, *, block: float = 0.0
    ) -> list[Delivery]:
        """Return at most count new deliveries of each stream, in the order of the streams.

        With block, wait up to that many seconds for the first. Raises redis
        ConnectionError or TimeoutError; what the lost reply brought is then
        found by the reclaimer.
        """
        if not streams:
            await asyncio.sleep(block)
            return []
        asked = time.monotonic()
        queues = list({stream.keys: None for stream in streams})
        if self.channel.is_cluster and len(queues) > 1:
            return await self._read_apart(streams, queues, count, block)
        # Right behind the read: who was not cancelled before it is seen as running since.
        reply, *marked = await self.channel.ask(
            self._command(streams, count, block),
            *(("EXISTS", keys.cancelled, keys.cancelling) for keys in queues),
            timeout=block + PATIENCE,
        )
        if isinstance(reply, ResponseError):
            await self._mend(reply, streams)
            return []
        self._trouble.over()
        deliveries = self._deliveries(reply, asked)
        for keys, sets in zip(queues, marked, strict=True):
            if sets != 0:
                await self._mark_cancelled(keys, deliveries)
        return deliveries

    async def _read_apart(
        self, streams: Sequence[Stream], queues: Sequence[Keys], count: int, block: float
    ) -> list[Delivery]:
        """Read each queue by a command of its own: their keys lie in different slots.

        The first may block, for so short that the others do not wait for long; it takes turns.
        """
        asked, block = time.monotonic(), min(block, BLOCK_UNWOKEN)
        parts = self._in_turn(streams, queues) if block else _by_queue(streams, queues)
        blocks = [block, *([0.0] * (len(parts) - 1))]
        replies = await self.channel.ask(
            *(self._command(part, count, each) for part, each in zip(parts, blocks, strict=True)),
            *(("EXISTS", keys.cancelled, keys.cancelling) for keys in queues),
            timeout=block + PATIENCE,
        )
        read, marked = replies[: len(parts)], replies[len(parts) :]
        deliveries = self._merged(streams, read, asked)
        for keys, sets in zip(queues, marked, strict=True):
            if sets != 0:
                await self._mark_cancelled(keys, deliveries)
        await self._mend_parts(parts, read, deliveries)
        return deliveries

    def _in_turn(self, streams: Sequence[Stream], queues: Sequence[Keys]) -> list[Sequence[Stream]]:
        self._turns += 1
        first = self._turns % len(queues)
        return _by_queue(streams, [*queues[first:], *queues[:first]])

    def _merged(
        self, streams: Sequence[Stream], replies: Sequence[Any], asked: float
    ) -> list[Delivery]:
        """Return what all replies brought, in the order of the streams."""
        place = {stream.key: number for number, stream in enumerate(streams)}
        told = [reply for reply in replies if not isinstance(reply, ResponseError)]
        found = [delivery for reply in told for delivery in self._deliveries(reply, asked)]
        return sorted(found, key=lambda it: place[it.stream.key])

    async def _mend_parts(
        self,
        parts: Sequence[Sequence[Stream]],
        replies: Sequence[Any],
        deliveries: Sequence[Delivery],
    ) -> None:
        """Mend each part that was refused; raise for none while others brought something."""
        refused = [
            (reply, part)
            for reply, part in zip(replies, parts, strict=True)
            if isinstance(reply, ResponseError)
        ]
        if not refused:
            self._trouble.over()
        for reply, part in refused:
            try:
                await self._mend(reply, part)
            except (ConnectionError, TimeoutError):
                # What is still so at the next read is said by that.
                if not deliveries:
                    raise

    async def _mark_cancelled(self, keys: Keys, deliveries: Sequence[Delivery]) -> None:
        found = [it for it in deliveries if it.stream.keys == keys]
        if not found:
            return
        marks = [f"{it.stream.name} {it.entry}" for it in found]
        # What somebody had when it was cancelled comes this way once its group was lost.
        sets = (keys.cancelled, keys.cancelling)
        for flags in await self.ask(*(("SMISMEMBER", it, *marks) for it in sets)):
            if isinstance(flags, ResponseError):
                # What is cancelled starts then, and is recorded as cancelled all the same.
                logger.error(
                    "cannot see which jobs of queue %s were cancelled: %s", keys.queue, flags
                )
                continue
            for delivery, flag in zip(found, flags, strict=True):
                delivery.cancelled = delivery.cancelled or bool(flag)

    async def ask(self, *commands: Command) -> list[Any]:
        """Ask something else between two reads; error replies are values."""
        return await self.channel.ask(*commands, timeout=PATIENCE)

    async def learn(self, streams: Sequence[Stream]) -> None:
        """Take note of how far all workers together have read some streams.

        The older the last job that was read from a stream, the older its next one will be.
        """
        replies = await self.ask(*(("XINFO", "GROUPS", stream.key) for stream in streams))
        for stream, groups in zip(streams, replies, strict=True):
            # An error is what the read meets as well, which mends it.
            for facts in () if isinstance(groups, ResponseError) else groups:
                group = dict(zip(facts[::2], facts[1::2], strict=True))
                if group[b"name"] == self.group.encode():
                    stream.last_ms = int(group[b"last-delivered-id"].partition(b"-")[0])
                    # From Redis 7.0 on, where it can be known. An empty lane may have a front that
                    # is not, so it is not taken for looked at.
                    if (lag := group.get(b"lag")) is not None:
                        stream.gave = lag > 0

    async def run(self, call: Call) -> Any:
        """Run a script between two reads; raises its ResponseError, or NotNow."""
        try:
            return await ask(self.channel, call, timeout=PATIENCE)
        except ResponseError as error:
            raise told_apart(error) from None

    async def renew(self, deliveries: Sequence[Delivery]) -> list[Delivery]:
        """Renew deliveries, between two reads, and return those that are still ours."""
        queues: defaultdict[Keys, list[Delivery]] = defaultdict(list)
        for delivery in deliveries:
            queues[delivery.stream.keys].append(delivery)
        ours = []
        for keys, found in queues.items():
            for batch in chunks(found):
                ours += await self._renew(keys, batch)
        return ours

    async def _renew(self, keys: Keys, batch: Sequence[Delivery]) -> list[Delivery]:
        asked, ours = time.monotonic(), []
        flags = (await self.run(renew(keys, self.consumer, batch))).decode()
        for delivery, flag in zip(batch, flags, strict=True):
            if flag != "0":
                delivery.renewed_at = asked
                delivery.cancelled = delivery.cancelled or flag == "C"
                ours.append(delivery)
        return ours

    def look_again(self) -> None:
        """Read streams again that were left out long enough."""
        now = time.monotonic()
        self._wrong_type = {key: end for key, end in self._wrong_type.items() if end > now}
        self.levels.leave_out(set(self._wrong_type))

    def _command(self, streams: Sequence[Stream], count: int, block: float) -> Command:
        blocking = ("BLOCK", max(1, int(block * 1000))) if block else ()
        names = [stream.key for stream in streams]
        head = ("XREADGROUP", "GROUP", self.group, self.consumer, "COUNT", count, *blocking)
        return (*head, "STREAMS", *names, *([">"] * len(names)))

    def _deliveries(self, reply: Any, asked: float) -> list[Delivery]:
        found = list[Delivery]()
        for key, entries in reply or ():
            stream = self.levels.by_key[key]
            found += [delivery_of(stream, it.decode(), 1, fields, asked) for it, fields in entries]
        return found

    async def _mend(self, error: ResponseError, streams: Sequence[Stream]) -> None:
        """Repair or leave out the one stream that spoils the read of all others."""
        text = str(error)
        if text.startswith("UNBLOCKED"):
            self.outdated = True
        elif (lost := _NO_GROUP.search(text)) is not None:
            await self._make_group(lost[1])
        elif text.startswith("NOGROUP"):
            # It went away under a blocked read: the next one says which it was.
            self.outdated = True
        elif is_foreign_value(error):
            await self._leave_out_wrong(streams)
        elif is_for_now(error):
            raise told_apart(error)
        else:
            self._trouble.say(error)
            await asyncio.sleep(1.0)

    async def _make_group(self, stream_key: str) -> None:
        self.outdated = True
        stream = self.levels.by_key[stream_key.encode()]
        try:
            regrouped, remade = await self.run(repair(stream.keys, stream.lane, self.group))
        except ResponseError as error:
            # Something else of its queue is spoiled: the other streams are read meanwhile.
            self._leave_out(stream_key, f"its group is lost and cannot be created again, {error}")
            return
        for key in regrouped:
            logger.error(
                "%s had lost its group; created it again from the first entry", key.decode()
            )
        for key in remade:
            logger.error("%s was deleted by another program, together with its jobs", key.decode())
        if regrouped or remade:
            self._on_repaired()

    async def _leave_out_wrong(self, streams: Sequence[Stream]) -> None:
        kinds = await self.ask(*(("TYPE", stream.key) for stream in streams))
        for stream, kind in zip(streams, kinds, strict=True):
            if kind not in (b"stream", b"none"):
                self._leave_out(stream.key, f"it holds a {kind.decode()}")

    def _leave_out(self, stream_key: str, why: str) -> None:
        logger.error("not reading %s for %.0f s: %s", stream_key, _WRONG_TYPE_PAUSE, why)
        self._wrong_type[stream_key] = time.monotonic() + _WRONG_TYPE_PAUSE
        self.levels.leave_out(set(self._wrong_type))


def _by_queue(streams: Sequence[Stream], queues: Sequence[Keys]) -> list[Sequence[Stream]]:
    return [[stream for stream in streams if stream.keys == keys] for keys in queues]
