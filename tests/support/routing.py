"""Jobs that require something of a worker, and a fleet of which some may run them."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import redis as redis_py
from pydantic_core import to_json

from consumers.consumer import Consumer
from consumers.jobs.envelope import NewJob
from consumers.jobs.job import Job
from consumers.jobs.lanes import DEFAULT_PARTITION, DEFAULT_TYPE, Lane
from consumers.jobs.routes import Route
from consumers.store.keys import Keys
from tests.support.engine import Handlers, working
from tests.support.waiting import aeventually

# What most tests require, who may run that, and who may not.
GPU: Mapping[str, Any] = {"requires": ("gpu",)}
ABLE: Mapping[str, Any] = {"name": "able", "capabilities": ["gpu"]}
PLAIN: Mapping[str, Any] = {"name": "plain"}
OTHER: Mapping[str, Any] = {"name": "other", "capabilities": ["cpu"]}


def routed_job(
    event: str = "work",
    data: object = None,
    *,
    id: str = "a",
    queue: str = "default",
    type: str = DEFAULT_TYPE,
    partition: str = DEFAULT_PARTITION,
    priority: int = 0,
    due: str = "",
    guard: str = "",
    options: Mapping[str, Any] | None = None,
    **required: Any,
) -> NewJob:
    """Return a job for the lane of its route; what is left over is required, by default a GPU."""
    route = Route(type, event, **(required or GPU))
    stored = to_json({"route": route.definition, **(options or {})})
    lane = Lane(queue, route.name, partition, priority)
    return NewJob(id, event, json.dumps(data).encode(), lane, stored, due, guard)


class Starts:
    """A handler that notes which worker started which job, and when it is to end."""

    def __init__(self) -> None:
        self.all: list[tuple[str, str]] = []

    async def __call__(self, job: Job[Any]) -> None:
        self.all.append((job.worker, job.id))

    @property
    def ids(self) -> list[str]:
        """The jobs that were started, in that order."""
        return [job_id for _, job_id in self.all]

    def of(self, worker: str) -> list[str]:
        """Return the jobs that a worker started."""
        return [job_id for name, job_id in self.all if name == worker]


@asynccontextmanager
async def fleet(
    url: str, handlers: Handlers, *workers: Mapping[str, Any], **options: Any
) -> AsyncIterator[list[Consumer]]:
    """Run workers with the same handlers and options, by default those of whom one has a GPU.

    Those who may not come first, so that a job that nothing keeps from them is theirs.
    """
    async with contextlib.AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(working(url, handlers, **{**options, **worker}))
            for worker in workers or (PLAIN, OTHER, ABLE)
        ]


async def look(*workers: Consumer) -> None:
    """Return when workers have looked at their lanes again, and read what they list."""
    for _ in range(2):
        for worker in workers:
            assert worker._parts is not None
            fetcher = worker._parts.fetcher
            before = fetcher.passes
            fetcher.wake()
            await aeventually(lambda: fetcher.passes > before)  # noqa: B023


def defined(redis: redis_py.Redis, queue: str = "default") -> dict[str, str]:
    """Return the definitions of a queue's routes by their names."""
    found: Any = redis.hgetall(Keys(queue).routes)
    return {name.decode(): definition.decode() for name, definition in found.items()}
