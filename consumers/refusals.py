"""What Redis refuses for now: it has written nothing, and will take the same later."""

from __future__ import annotations

import re

from redis.exceptions import (
    ClusterDownError,
    ConnectionError,
    NoScriptError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TryAgainError,
)

# redis-py takes the words of the errors that it has a class for out of the text;
# inside a script Redis puts others before them.
_WORDS = re.compile(r"\b(BUSY|LOADING|MISCONF|NOREPLICAS|READONLY)\b")
_ERRORS = (ClusterDownError, NoScriptError, ReadOnlyError, TryAgainError)


class NotNow(ConnectionError):
    """Raised in place of such a refusal where it is waited for like an outage."""


def is_for_now(error: ResponseError) -> bool:
    """Whether Redis refuses only for now."""
    return isinstance(error, _ERRORS) or _WORDS.search(str(error)) is not None


def told_apart(error: ResponseError) -> RedisError:
    """Return the error as NotNow when it is for now, else as it is."""
    return NotNow(str(error)) if is_for_now(error) else error
