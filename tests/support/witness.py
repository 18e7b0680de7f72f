"""What handlers did, as they wrote it down themselves: a witness that is not Redis."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from consumers.jobs.job import Job

# Where a worker process finds the log to write to.
VARIABLE = "WITNESS_LOG"


class Line(NamedTuple):
    """One thing that happened: what is started, finished, or the name of what was raised.

    monotonic is comparable between processes of this machine; at and created_at
    are wall times in seconds, the second one by Redis' clock.
    """

    what: str
    job: str
    event: str
    pid: int
    delivery: int
    attempt: int
    monotonic: float
    at: float
    created_at: float


def note(what: str, job: Job[Any]) -> None:
    """Append a line to the log of this process' environment."""
    line = Line(
        what, job.id, job.event, os.getpid(), job.delivery, job.attempt,
        time.monotonic(), time.time(), job.created_at.timestamp(),
    )  # fmt: skip
    log = os.open(os.environ[VARIABLE], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        # One write, so that lines of several processes never mix.
        os.write(log, json.dumps(line).encode() + b"\n")
    finally:
        os.close(log)


@contextlib.contextmanager
def witnessed(job: Job[Any]) -> Iterator[None]:
    """Note that a run started, and how it ended; of a killed process only the start is left."""
    note("started", job)
    try:
        yield
    except BaseException as error:
        note(type(error).__name__, job)
        raise
    note("finished", job)


class Witness:
    """Reads the log that any number of workers write."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def environment(self) -> dict[str, str]:
        """What a worker process needs in its environment."""
        return {VARIABLE: str(self.path)}

    def lines(self, what: str | None = None, job: str | None = None) -> list[Line]:
        """Return what was written so far, in order; of one kind or one job when named."""
        written = self.path.read_bytes() if self.path.exists() else b""
        # Behind the last line end may be half a line.
        whole = written[: written.rfind(b"\n") + 1].splitlines()
        found = [Line(*json.loads(line)) for line in whole]
        return [it for it in found if what in (None, it.what) and job in (None, it.job)]

    def started(self, job: str | None = None) -> list[Line]:
        """Return the starts, of one job when it is named."""
        return self.lines("started", job)

    def finished(self, job: str | None = None) -> list[Line]:
        """Return the ends without an error, of one job when it is named."""
        return self.lines("finished", job)
