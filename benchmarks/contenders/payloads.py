"""The payload of each handler's jobs. Each has a number of its own, so no two jobs are equal."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import told
from orders import order

Payload = dict[str, Any]


def payload(number: int) -> Payload:
    """Return the payload of a job for the handler that we were told."""
    return _OF[told.HANDLER](number)


def _small(number: int) -> Payload:
    if not told.PADDING:
        return {"n": number}
    # Longer numbers have less text beside them, so that all are of one size.
    return {"n": number, "text": "x" * (told.PADDING - len(f'{{"n":{number},"text":""}}'))}


def _moment(_: int) -> Payload:
    return {"sent_ns": time.time_ns()}


_OF: Mapping[str, Callable[[int], Payload]] = {
    "noop": _small,
    "sleep": _small,
    "sync": _small,
    "typed": order,
    "wait": _moment,
}
