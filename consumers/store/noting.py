"""Ask for a running job's log and progress to be written."""

from __future__ import annotations

from collections.abc import Sequence

from consumers.connections.link import Argument
from consumers.store.delivery import Delivery
from consumers.store.scripts import Call, load

LOG_LINES = 1000
NOTE = load("note")


def log(delivery: Delivery, consumer: str, ttl_ms: int, line: str) -> Call:
    """Return the writing of a line of a job's log; answers 1, or 0 when fenced off."""
    return _note(
        delivery, consumer, ttl_ms, delivery.stream.keys.log(delivery.envelope.id), LOG_LINES, line
    )


def progress(delivery: Delivery, consumer: str, ttl_ms: int, fields: Sequence[Argument]) -> Call:
    """Return the writing of a job's progress; answers 1, or 0 when fenced off."""
    key = delivery.stream.keys.progress(delivery.envelope.id)
    return _note(delivery, consumer, ttl_ms, key, 0, *fields)


def _note(
    delivery: Delivery, consumer: str, ttl_ms: int, key: str, most: int, *values: Argument
) -> Call:
    stream = delivery.stream
    token: list[Argument] = [stream.group, consumer, delivery.entry, delivery.count]
    return Call(NOTE, [stream.key, key], [*token, ttl_ms, most, *values])
