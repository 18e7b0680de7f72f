"""What plain commands tell of streams, so that no script runs where it would find nothing to do."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from redis.exceptions import ResponseError

from consumers.connections.link import Argument
from consumers.connections.wire import Wire
from consumers.store.delivery import Stream
from consumers.store.entries import added_ms, oldest_waiting_ms


@dataclass(frozen=True, slots=True)
class Glance:
    """What a stream and its group looked like a moment ago; who changes them looks again."""

    stream: Stream
    length: int
    consumers: int
    pending: int
    # The entry that was delivered last: entries are delivered in their order.
    delivered: str

    def is_unused(self, since_ms: float) -> bool:
        """Whether it is empty, and nothing is known to have been in it since then."""
        return not self.length and not self.pending and added_ms(self.delivered) < since_ms


async def glance_at(wire: Wire, streams: Sequence[Stream]) -> list[Glance | None]:
    """Return what each stream looks like; None where it or its group is not there."""
    lengths = _ask(wire, [("XLEN", it.key) for it in streams])
    groups = _ask(wire, [("XINFO", "GROUPS", it.key) for it in streams])
    told = zip(streams, *await asyncio.gather(lengths, groups), strict=True)
    return [_glance(*it) for it in told]


async def holds_old(wire: Wire, glance: Glance, before_ms: float) -> bool:
    """Return whether an entry waits in a stream that was added before then."""
    if not glance.length or added_ms(glance.delivered) >= before_ms:
        return False
    try:
        oldest = await oldest_waiting_ms(wire, glance.stream.key, glance.delivered)
    except ResponseError:
        # The stream went away meanwhile.
        return False
    return oldest is not None and oldest < before_ms


async def holds_abandoned(wire: Wire, glance: Glance, lease_ms: int) -> bool:
    """Return whether a stream holds a delivery that was not renewed for a lease."""
    if not glance.pending:
        return False
    key, group = glance.stream.key, glance.stream.group
    try:
        return bool(await wire.send("XPENDING", key, group, "IDLE", lease_ms, "-", "+", 1))
    except ResponseError:
        # The stream or its group went away meanwhile.
        return False


async def _ask(wire: Wire, commands: Iterable[Sequence[Argument]]) -> list[Any]:
    """Return the replies to commands that go out in one write; a ResponseError is one of them."""
    replies = await asyncio.gather(*(wire.send(*it) for it in commands), return_exceptions=True)
    for reply in replies:
        if isinstance(reply, BaseException) and not isinstance(reply, ResponseError):
            raise reply
    return replies


def _glance(stream: Stream, length: Any, groups: Any) -> Glance | None:
    if isinstance(length, ResponseError) or isinstance(groups, ResponseError):
        return None
    for group in groups:
        facts = dict(zip(group[::2], group[1::2], strict=True))
        if facts[b"name"] == stream.group.encode():
            return Glance(
                stream,
                length,
                facts[b"consumers"],
                facts[b"pending"],
                facts[b"last-delivered-id"].decode(),
            )
    return None
