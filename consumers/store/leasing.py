"""Ask for deliveries to be renewed, to be taken over, and to be run alone."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from consumers.connections.link import Argument
from consumers.store.delivery import Delivery, Stream
from consumers.store.keys import Keys
from consumers.store.scripts import Call, load
from consumers.store.steps import Streams

# Pending entries that one step of reclaiming looks at.
RECLAIM_PAGE = 256
RENEW, RECLAIM, MARK_SOLO = load("renew"), load("reclaim"), load("mark_solo")


def renew(keys: Keys, consumer: str, deliveries: Iterable[Delivery]) -> Call:
    """Return the renewal of deliveries of a queue; answers with 1, 0 or C (cancelled) each."""
    streams = Streams([])
    args: list[Argument] = [consumer, keys.base]
    for delivery in deliveries:
        where = streams.index(delivery.stream.key)
        args += [where, delivery.stream.group, delivery.entry, delivery.count]
    return Call(RENEW, streams.keys, args)


def reclaim(
    stream: Stream,
    consumer: str,
    lease_ms: int,
    cursor: str,
    want: int,
    running: Iterable[str],
    *,
    whose: str | bytes = "",
) -> Call:
    """Return one bounded step of taking over expired deliveries; see reclaim.lua."""
    args: list[Argument] = [
        stream.group, consumer, lease_ms, cursor, RECLAIM_PAGE, want, stream.keys.base, whose,
        *running,
    ]  # fmt: skip
    return Call(RECLAIM, [stream.key, stream.keys.stats, stream.keys.meta], args)


def solo(delivery: Delivery, consumer: str, runs: int | None = None) -> Call:
    """Return the recording of how many solo runs a job has had, or without runs the question.

    Answers with how many were recorded before; -1 and -2 as in mark_solo.lua.
    """
    stream, envelope = delivery.stream, delivery.envelope
    return Call(
        MARK_SOLO,
        [stream.key, stream.keys.live(envelope.id)],
        [
            stream.group, consumer, delivery.entry, delivery.count, envelope.id,
            envelope.generation, stream.name, "" if runs is None else runs, stream.keys.base,
        ],
    )  # fmt: skip


def entries_of(reply: Any) -> list[tuple[str, int, list[bytes], bool]]:
    """Return entry, delivery count, fields and whether it is cancelled of what was reclaimed."""
    return [(entry.decode(), count, fields, bool(over)) for entry, count, fields, over in reply[2:]]
