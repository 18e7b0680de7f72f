"""A worker from before the event ``fresh``."""

from __future__ import annotations

from typing import Any

from taskmanager import Job, TaskManager
from tests.support.witness import witnessed

tm: TaskManager[Any] = TaskManager()


@tm.registerHandler(event="stale")
async def stale(job: Job[Any]) -> None:
    with witnessed(job):
        pass
