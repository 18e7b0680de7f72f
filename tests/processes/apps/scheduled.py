"""A schedule that fires every second, whatever becomes of its workers."""

from __future__ import annotations

from typing import Any

from taskmanager import Job, TaskManager
from tests.support.witness import witnessed

tm: TaskManager[Any] = TaskManager()


@tm.registerHandler(event="tick", repeat={"pattern": "* * * * * *", "missed": "all"})
async def tick(job: Job[Any]) -> int:
    with witnessed(job):
        return job.generation
