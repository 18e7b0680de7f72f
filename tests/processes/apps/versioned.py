"""A schedule whose definition and version a process is told by its environment."""

from __future__ import annotations

import os
from typing import Any

from taskmanager import Job, TaskManager
from tests.support.witness import witnessed

tm: TaskManager[Any] = TaskManager()
DEFINITION = os.environ["DEFINITION"]


@tm.registerHandler(
    event="tick",
    repeat={
        "pattern": "* * * * * *",
        "name": "tick",
        "data": {"definition": DEFINITION},
        "version": int(os.environ["VERSION"]),
        "missed": "all",
    },
)
async def tick(job: Job[Any]) -> str:
    with witnessed(job):
        return str(job.data["definition"])
