"""Turn refusals of Redis into the errors of this project."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from redis.exceptions import ConnectionError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeout

from consumers.connections.not_now import is_for_now
from consumers.errors import RedisUnavailable, Request, Sent, TaskManagerError
from consumers.store.keys import Keys
from consumers.store.refusals import meaning


@contextlib.contextmanager
def answering(
    where: str, *, outcome: Sent = "not_sent", request: Request = "read"
) -> Iterator[None]:
    """Turn a lost connection into RedisUnavailable; reading again is always safe."""
    try:
        yield
    except (ConnectionError, RedisTimeout) as error:
        raise RedisUnavailable(where, str(error), outcome=outcome, request=request) from error


@contextlib.contextmanager
def changing(where: str, keys: Keys) -> Iterator[None]:
    """Turn a lost connection, or a refusal by a script, into our errors."""
    with answering(where, outcome="unknown", request="change"), refusing(where, keys):
        yield


@contextlib.contextmanager
def refusing(where: str, keys: Keys) -> Iterator[None]:
    """Turn the refusal of a queue's script into the error that explains it."""
    try:
        yield
    except ResponseError as error:
        if is_for_now(error):
            # In that case nothing was written.
            raise RedisUnavailable(
                where, str(error), outcome="not_sent", request="change"
            ) from error
        unknown = TaskManagerError(f"Redis at {where} refused: {error}")
        raise meaning(error, keys, where) or unknown from error
