"""Named points at which a test may cut the process off. In production they do nothing.

A test names one in the environment: ``settle.in_flight``, or ``settle.in_flight#2``
for the second time it is passed.
"""

from __future__ import annotations

import asyncio
import os


class _Cut:
    """Where the process is to end, and how often that point is still to be passed."""

    def __init__(self, named: str) -> None:
        self.point, _, nth = named.partition("#")
        self.left = int(nth or 1)

    def passed(self) -> bool:
        """Whether this was the last time."""
        self.left -= 1
        return self.left == 0


_cut = _Cut(os.environ.get("TASKMANAGER_CUT", ""))


def arm(named: str) -> None:
    """Cut this process off at a point; an empty name takes that back."""
    global _cut
    _cut = _Cut(named)


def cut(point: str) -> None:
    """End the process at once, as kill -9 would, when it is to end here."""
    if point == _cut.point and _cut.passed():
        _end()


def cut_in_flight(point: str) -> None:
    """End the process when what is sent right after this has left and is not answered yet.

    A connection writes in the next turn of the loop; what it reads comes in a later one.
    """
    if point == _cut.point and _cut.passed():
        loop = asyncio.get_running_loop()
        loop.call_soon(loop.call_soon, _end)


def _end() -> None:
    os._exit(137)
