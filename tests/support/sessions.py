"""Who lives in the session of a process, whatever process group that is in; to end them all.

As a program, ``sessions.py LEADER``, it kills a session of which it is a member itself.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from pathlib import Path


def members(leader: int) -> list[int]:
    """Return who lives in a session, this process apart; nobody where there is no /proc."""
    return [
        pid
        for stat in Path("/proc").glob("[0-9]*/stat")
        if (pid := int(stat.parent.name)) != os.getpid() and _is_in(leader, stat)
    ]


def kill(leader: int) -> None:
    """kill -9 of the leader's group, and of all that live in its session until none is left."""
    if leader != os.getpgrp():
        with contextlib.suppress(ProcessLookupError):
            os.killpg(leader, signal.SIGKILL)
    while left := members(leader):
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _is_in(leader: int, stat: Path) -> bool:
    try:
        # Behind the name, which may hold anything: state, parent, group, session.
        state, _, _, session = stat.read_text().rpartition(") ")[2].split()[:4]
    except OSError:
        return False
    return int(session) == leader and state not in "ZX"


if __name__ == "__main__":
    kill(int(sys.argv[1]))
    # What kill left to the last, and to this process: the group, where there is no /proc.
    os.killpg(os.getpgrp(), signal.SIGKILL)
