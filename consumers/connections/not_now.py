"""What Redis refuses for now: it has written nothing, and will take the same later.

And what it refuses for good.
"""

from __future__ import annotations

import re

from redis.exceptions import (
    AskError,
    AuthenticationError,
    ClusterDownError,
    ConnectionError,
    MasterDownError,
    MovedError,
    NoPermissionError,
    NoScriptError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TryAgainError,
)

# redis-py takes the words of the errors that it has a class for out of the text;
# inside a script Redis puts others before them.
_WORDS = re.compile(r"\b(BUSY|LOADING|MASTERDOWN|MISCONF|NOREPLICAS|READONLY)\b")
# Inside a script, where a queue may be named like the words; and to a read that blocked
# while its server became a replica.
_OF_A_REPLICA = re.compile(
    r"\b(READONLY You can't write|MASTERDOWN Link with)|^UNBLOCKED .*instance state changed"
)
# What a server with a password says of the first command without one.
_NO_LOGIN = re.compile(r"HELLO must be called|Authentication required")
# Another node has the key (AskError, MovedError is one): a new connection finds out whether one
# node has them all.
_ERRORS = (AskError, ClusterDownError, NoScriptError, ReadOnlyError, TryAgainError)


class NotNow(ConnectionError):
    """Raised in place of such a refusal where it is waited for like an outage."""


class WrongServer(ConnectionError):
    """Raised where the address leads to a server on which jobs cannot be kept."""


# To connect again will come to the same.
FOR_GOOD = (AuthenticationError, WrongServer)


def is_for_now(error: ResponseError) -> bool:
    """Whether Redis refuses only for now."""
    return isinstance(error, _ERRORS) or _WORDS.search(str(error)) is not None


def missing_right(error: ResponseError, prefix: str) -> str | None:
    """Return what to grant when a script with keys of a prefix was refused for want of rights."""
    if not isinstance(error, NoPermissionError):
        return None
    return (
        f"this Redis user is not allowed to run scripts on keys {prefix}*: {error}. Extend its ACL "
        f"rules, for example with ~{prefix}* and +@scripting"
    )


def is_of_a_replica(error: RedisError) -> bool:
    """Whether only a replica says so: then the connection does not lead to the primary.

    In cluster mode it says where the primary is (MOVED), as does a node that gave slots away.
    """
    if isinstance(error, (ReadOnlyError, MasterDownError, MovedError)):
        return True
    return _OF_A_REPLICA.search(str(error)) is not None


def told_apart(error: ResponseError) -> RedisError:
    """Return the error as NotNow when it is for now, else as it is."""
    return NotNow(str(error)) if is_for_now(error) else error


def of_the_login(error: ConnectionError) -> ConnectionError:
    """Return a refused login as AuthenticationError, any other error as it is.

    redis-py wraps it on a Unix socket.
    """
    refused = error if isinstance(error, AuthenticationError) else error.__cause__
    if not isinstance(refused, AuthenticationError):
        return error
    if _NO_LOGIN.search(str(refused)):
        return AuthenticationError("it requires a password, and none was given")
    return refused
