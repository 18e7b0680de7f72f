"""A handler of the end of a storm."""

from __future__ import annotations

from typing import Any

from taskmanager import Job, TaskManager
from tests.support.witness import witnessed

tm: TaskManager[Any] = TaskManager()


@tm.registerHandler(event="index")
async def index(job: Job[Any]) -> Any:
    with witnessed(job):
        return job.data
