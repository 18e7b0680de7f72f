"""Keep forked children from holding connections open that are not theirs.

A fork copies every descriptor, so a child of a handler would keep the connections of a
worker that is killed open: Redis would not see that its reader is gone, and would give the
read that blocks there another batch, which nobody gets.
"""

from __future__ import annotations

import contextlib
import os
from typing import Protocol
from weakref import WeakSet


class Connected(Protocol):
    """Something that may have a socket."""

    def fileno(self) -> int:
        """Return the descriptor of the socket; -1 while it has none."""


_connected: WeakSet[Connected] = WeakSet()


def close_in_children(it: Connected) -> None:
    """Have every forked child close its copy of a socket, for as long as the socket is open."""
    _connected.add(it)


def _after_fork() -> None:
    # Replaced and not closed: the number stays taken, so that the objects that came along
    # from the parent can never close what the child opens under it.
    nothing = os.open(os.devnull, os.O_RDWR)
    for it in list(_connected):
        with contextlib.suppress(OSError):
            if (descriptor := it.fileno()) >= 0:
                os.dup2(nothing, descriptor, inheritable=False)
    os.close(nothing)
    _connected.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
