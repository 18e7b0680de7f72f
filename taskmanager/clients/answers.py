"""Turn what Redis says when it does nothing into the errors of this project."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Literal

from redis.exceptions import ConnectionError, OutOfMemoryError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeout

from consumers.connections.not_now import is_for_now
from consumers.errors import (
    BrokenKey,
    LayoutMismatch,
    QueueFull,
    RedisUnavailable,
    TaskManagerError,
)


@contextlib.contextmanager
def answering(
    where: str, *, outcome: Literal["unknown", "not_sent"] = "not_sent"
) -> Iterator[None]:
    """Turn a lost connection into RedisUnavailable; reading again is always safe."""
    try:
        yield
    except (ConnectionError, RedisTimeout) as error:
        raise RedisUnavailable(where, str(error), outcome=outcome) from error


@contextlib.contextmanager
def changing(where: str, queue: str) -> Iterator[None]:
    """Turn a lost connection, and a script's refusal, into errors of ours."""
    with answering(where, outcome="unknown"), refusing(where, queue):
        yield


@contextlib.contextmanager
def refusing(where: str, queue: str) -> Iterator[None]:
    """Turn a script's refusal into the error that says what it means."""
    try:
        yield
    except ResponseError as error:
        raise _refusal(where, queue, error) from error


def _refusal(where: str, queue: str, error: ResponseError) -> TaskManagerError:
    # Nothing was written then.
    text = str(error)
    if is_for_now(error):
        return RedisUnavailable(where, text, outcome="not_sent")
    if isinstance(error, OutOfMemoryError) or "OOM" in text:
        return QueueFull(queue, f"Redis at {where} is out of memory")
    if "LAYOUT " in text:
        found, known = text.split("LAYOUT ", 1)[1].split(" ")[:2]
        return LayoutMismatch(queue, found, known)
    if "WRONGTYPE " in text:
        return BrokenKey(text.split("WRONGTYPE ", 1)[1].split(" ")[0])
    return TaskManagerError(f"Redis at {where} refused: {text}")
