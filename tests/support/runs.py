"""Runs that nothing runs, for tests of what looks at them."""

from __future__ import annotations

import asyncio
from typing import Any

from consumers.connections.clock import ServerClock
from consumers.jobs.envelope import Envelope
from consumers.jobs.job import Job
from consumers.jobs.lanes import Lane
from consumers.policy import Handler
from consumers.run.run import Run
from consumers.store.delivery import Delivery, Stream
from consumers.store.keys import Keys


def new_run(job: Job[Any], loop: asyncio.AbstractEventLoop) -> Run:
    """Return a run of a job in the queue ``default``."""
    stream = Stream(Keys("default"), Lane("default"), "workers", front=False)
    envelope = Envelope("a", "e", b"{}", b"", 1, 1, 0, 0, 0, 0)
    return Run(
        job, Delivery(stream, "1-1", 1, envelope, 0.0), Handler.of(print), loop, ServerClock()
    )
