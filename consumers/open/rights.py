"""See at the start whether this user may run what the scripts run.

An ACL that misses a command would otherwise show in the middle of a script.
"""

from __future__ import annotations

import re

from redis.exceptions import ResponseError

from consumers.connections.not_now import is_for_now, missing_right, told_apart
from consumers.connections.wire import Wire
from consumers.errors import TaskManagerError
from consumers.store.keys import Keys
from consumers.store.refusals import without_right
from consumers.store.scripts import call, load, names
from consumers.store.tending import check_rights as ask_for_rights

_CALLED = re.compile(r"redis\.p?call\('([A-Z]+)'(?:, '([A-Z]+)')?")
_WITH_SUBCOMMAND = {"XGROUP", "XINFO"}
# Where it may not be called, a script does without, which is slower: a worker of a user who was
# given his rights before it was called is not to fail.
DISPENSABLE = frozenset({"XTRIM"})


def commands() -> list[str]:
    """Return every command that a script cannot do without, with its subcommand if it has one."""
    found = set()
    for name in names():
        for command, subcommand in _CALLED.findall(load(name).source):
            known = command in _WITH_SUBCOMMAND
            found.add(f"{command} {subcommand}" if known else command)
    return sorted(found - DISPENSABLE)


async def check_rights(wire: Wire, keys: Keys) -> None:
    """Raise TaskManagerError naming the commands this user may not run in scripts.

    The dry run touches nothing: each command is tried on a key of another type
    or on none, PUBLISH on channels on which nobody listens, and only a refusal for
    lack of rights is looked at.
    """
    try:
        refused = await call(wire, ask_for_rights(keys, commands()))
    except ResponseError as error:
        if is_for_now(error):
            raise told_apart(error) from error
        raise TaskManagerError(
            missing_right(error, keys.base) or f"this Redis user cannot run scripts: {error}"
        ) from error
    if refused:
        missing = ", ".join(name.decode() for name in refused)
        raise TaskManagerError(without_right(missing, keys))
