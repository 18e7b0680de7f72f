"""The worker of the next version: it knows the event ``fresh`` too."""

from __future__ import annotations

from typing import Any

from taskmanager import Job
from tests.processes.apps.old import tm
from tests.support.witness import witnessed

__all__ = ["tm"]


@tm.registerHandler(event="fresh")
async def fresh(job: Job[Any]) -> None:
    with witnessed(job):
        pass
