"""explain, as users call it: by id, by handle, blocking, and for a whole queue."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import redis as redis_py

from consumers.jobs.job import Job
from consumers.store.keys import Keys
from taskmanager import Explanation, InvalidName, TaskManager, TaskManagerError
from tests.support.waiting import aeventually

Make = Callable[..., TaskManager]


async def test_a_job_that_nobody_takes_is_explained(make: Make) -> None:
    tm = make()

    handle = await tm.emit("send", data={"to": "Ada"}, queue="mail")
    found = await tm.explain(handle.id, "mail")

    assert (found.reason, str(found)) == (
        "no_worker", "no live worker of type 'workers' reads queue 'mail'",
    )  # fmt: skip
    assert await handle.explain() == found
    assert await tm.explain(handle.id) == Explanation(
        "unknown",
        "is not known in queue 'default': it never existed, or it ended and its result has expired",
    )


async def test_a_job_is_explained_from_emit_to_end(make: Make) -> None:
    tm, begun, may_end = make(concurrency=1), asyncio.Event(), asyncio.Event()

    @tm.registerHandler(event="work")
    async def work(job: Job[Any]) -> None:
        begun.set()
        await may_end.wait()

    @tm.registerHandler(event="fail", max_retries=3, retry_delay_ms=3_600_000)
    async def fail(job: Job[Any]) -> None:
        raise OSError("no route")

    await tm.start()
    runs = await tm.emit("work")
    await begun.wait()
    waits = await tm.emit("work", deduplicate=False)
    fails = await tm.emit("fail", priority=-5)

    await aeventually(lambda: _is(runs, "has been running on "), within=30.0)
    await aeventually(
        lambda: _is(waits, "waits in lane workers:default:0 (work): "),
        within=30.0,
    )
    may_end.set()
    await waits.result(timeout=30)
    assert str(await runs.explain()).startswith("completed at ")
    await aeventually(lambda: _is(fails, "failed 1 time, last with 'OSError: no route', and"))


async def _is(handle: Any, beginning: str) -> bool:
    return str(await handle.explain()).startswith(beginning)


async def test_a_run_is_explained_that_is_not_the_live_one(make: Make) -> None:
    tm = make()
    ended = await tm.emit("send", id="a")
    await ended.cancel()
    await tm.emit("send", id="a")

    assert (await ended.explain()).reason == "ended"
    assert (await tm.explain("a")).reason == "no_worker"


async def test_the_coming_job_of_a_schedule_is_explained(make: Make) -> None:
    tm = make()

    handle = await tm.emit("send", repeat={"name": "nightly", "every": timedelta(hours=1)})
    found = await handle.explain()

    assert found.reason == "scheduled"
    assert str(found).startswith("schedule 'nightly' emits it at ")


async def test_the_end_is_found_where_results_have_a_redis_of_their_own(
    make: Make, redis: redis_py.Redis
) -> None:
    url = "redis://{host}:{port}/{{}}".format(**redis.get_connection_kwargs())
    tm = make(redis=None, db=url.format(1), streamdb=url.format(0))

    @tm.registerHandler(event="work")
    async def work(job: Job[Any]) -> None:
        pass

    await tm.start()
    handle = await tm.emit("work")
    await handle.result(timeout=30)

    assert (await handle.explain()).reason == "ended"


def test_blocking_versions(tm: TaskManager) -> None:
    handle = tm.sync.emit("send")

    assert handle.explain() == tm.sync.explain(handle.id)
    assert [it.reason for it in tm.sync.explain_queue().reasons] == ["no_worker"]


async def test_a_queue_is_explained(make: Make) -> None:
    tm = make()
    await tm.emit("send", id="a")
    await tm.emit("send", id="b", delay=3600)

    found = await tm.explain_queue()

    assert (found.jobs, found.looked_at) == (2, 2)
    assert [(it.reason, it.jobs, it.example) for it in found.reasons] == [
        ("delayed", 1, "b"), ("no_worker", 1, "a"),
    ]  # fmt: skip


@pytest.mark.parametrize(("job_id", "queue"), [("a b", "default"), ("a", "a b")])
async def test_a_name_that_is_not_allowed_is_refused(make: Make, job_id: str, queue: str) -> None:
    with pytest.raises(InvalidName):
        await make().explain(job_id, queue)


async def test_a_foreign_value_is_named(make: Make, redis: redis_py.Redis) -> None:
    key = Keys("default").dead_index
    redis.set(key, "somebody else's", ex=60)

    with pytest.raises(TaskManagerError, match="WRONGTYPE"):
        await make().explain("a")
