"""What it means when Redis refuses a script for good: the one table of it.

Temporary refusals are recognized in connections/not_now.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from redis.exceptions import OutOfMemoryError, ResponseError

from consumers.connections.not_now import missing_right
from consumers.errors import BrokenKey, LayoutMismatch, QueueFull, TaskManagerError
from consumers.store.keys import Keys

# Inside a script Redis puts other words before these, and a queue may be named like them.
_MEMORY = re.compile(r"\bOOM command not allowed")
# A script of ours names its key.
_LAYOUT = re.compile(r"LAYOUT (\S+) (\S+)")
_KEY = re.compile(r"WRONGTYPE (\S+)")
# A script of ours names the command that it may not call.
_COMMAND = re.compile(r"\bNOPERM ([A-Z]+(?: [A-Z]+)?)")


def meaning(error: ResponseError, keys: Keys, where: str) -> TaskManagerError | None:
    """Return what a queue's script was refused for; None when it is none of what is known.

    Nothing was written then. A command inside a script that meets a foreign value does not
    tell in which key: that is none of what is known, and is_foreign_value says so.
    """
    for means in _MEANINGS:
        if (found := means(error, keys, where)) is not None:
            return found
    return None


def without_right(commands: str, keys: Keys) -> str:
    """Return what to grant to a user who may not run commands in the scripts of a queue."""
    return (
        f"this Redis user is not allowed to run {commands} in scripts on keys and channels "
        f"{keys.pattern}: extend its ACL rules"
    )


def is_out_of_memory(error: ResponseError) -> bool:
    """Whether Redis has no room for what a script would write."""
    return isinstance(error, OutOfMemoryError) or _MEMORY.search(str(error)) is not None


def is_foreign_value(error: ResponseError) -> bool:
    """Whether somebody else's value is in one of the keys."""
    return "WRONGTYPE" in str(error)


def _right(error: ResponseError, keys: Keys, where: str) -> TaskManagerError | None:
    found = _COMMAND.search(str(error))
    text = missing_right(error, keys.base) if found is None else without_right(found[1], keys)
    return None if text is None else TaskManagerError(text)


def _memory(error: ResponseError, keys: Keys, where: str) -> TaskManagerError | None:
    if not is_out_of_memory(error):
        return None
    return QueueFull(keys.queue, f"Redis at {where} is out of memory")


def _layout(error: ResponseError, keys: Keys, where: str) -> TaskManagerError | None:
    found = _LAYOUT.search(str(error))
    return None if found is None else LayoutMismatch(keys.queue, *found.groups())


def _key(error: ResponseError, keys: Keys, where: str) -> TaskManagerError | None:
    found = _KEY.search(str(error))
    return BrokenKey(found[1]) if found is not None and found[1].startswith(keys.base) else None


# The first that says something counts.
_MEANINGS: tuple[Callable[[ResponseError, Keys, str], TaskManagerError | None], ...] = (
    _right,
    _memory,
    _layout,
    _key,
)
