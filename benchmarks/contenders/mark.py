"""Leave a mark for each job that ran, so that any number of processes is counted from outside."""

from __future__ import annotations

import os
import time
from functools import cache

import told


def done() -> None:
    """Append one byte to the mark file: its size is the number of jobs that ran."""
    os.write(_file(), b"x")


def waited(sent_ns: int) -> None:
    """Append a line with the whole microseconds since then, by this machine's clock."""
    now_ns = time.time_ns()
    os.write(_file(), b"%d\n" % ((now_ns - sent_ns) // 1000))


@cache
def _file() -> int:
    # Appended to in one write, so that marks of several processes do not mix.
    return os.open(told.MARK, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
