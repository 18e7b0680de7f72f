"""G3: result, ack and the children of a success appear together or not at all."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import redis as redis_py

from consumers.jobs.job import Job
from consumers.jobs.lanes import MAX_LANES
from tests.support.engine import QueueView, emitting, new_job, working
from tests.support.servers import RedisServer
from tests.support.waiting import aeventually


async def test_g3_result_ack_and_children_appear_together(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    queue = QueueView(redis)
    jobs = 200
    seen: set[tuple[bool, ...]] = set()
    over = threading.Event()

    async def parent(job: Job[int]) -> int:
        job.on_success += [new_job("child", job.data, id=f"child-{job.id}-{n}") for n in range(3)]
        return job.data

    def look() -> None:
        with server.client() as client:
            while not over.is_set():
                for n in range(1, jobs + 1):
                    seen.add(_facts(client, queue, f"parent-{n}"))

    async with emitting(server.url) as emit:
        await asyncio.gather(*(emit("parent", n) for n in range(jobs)))
    looking = threading.Thread(target=look)
    looking.start()
    try:
        # Nobody handles the children: they stay to be looked at.
        async with working(server.url, {"parent": parent}, concurrency=10):
            await aeventually(lambda: queue.stats("completed") == jobs)
    finally:
        over.set()
        looking.join()

    assert seen <= {(True, False, False, False, False), (False, True, True, True, True)}
    assert all(
        _facts(redis, queue, f"parent-{n}") == (False, True, True, True, True)
        for n in range(1, jobs + 1)
    )
    assert queue.stats("emitted") == 4 * jobs


def _facts(client: redis_py.Redis, queue: QueueView, parent: str) -> tuple[bool, ...]:
    """Whether the parent is live, has a result, and has each of its children."""
    with client.pipeline(transaction=True) as pipe:
        pipe.hexists(queue.keys.live(parent), parent)
        pipe.exists(queue.keys.result(parent))
        for n in range(3):
            child = f"child-{parent}-{n}"
            pipe.hexists(queue.keys.live(child), child)
        found: list[Any] = pipe.execute()
    return tuple(bool(it) for it in found)


async def test_g3_children_of_a_success_run(server: RedisServer, redis: redis_py.Redis) -> None:
    ran: list[str] = []

    async def parent(job: Job[None]) -> None:
        job.on_success += [
            new_job("child", id="low", priority=-5),
            new_job("child", id="high", priority=5),
        ]

    async def child(job: Job[None]) -> None:
        ran.append(job.id)

    async with (
        emitting(server.url) as emit,
        working(server.url, {"parent": parent, "child": child}),
    ):
        await emit("parent")
        await aeventually(lambda: len(ran) == 2)
        await aeventually(QueueView(redis).is_empty)

    assert ran == ["high", "low"]


async def test_g3_a_failure_has_no_children(server: RedisServer, redis: redis_py.Redis) -> None:
    queue = QueueView(redis)

    async def parent(job: Job[None]) -> None:
        job.on_success.append(new_job("child", id="child"))
        raise ValueError("after all")

    async with emitting(server.url) as emit, working(server.url, {"parent": parent}):
        await emit("parent")
        await aeventually(lambda: queue.letter("parent-1"))

    assert queue.live("child") is None
    assert queue.stats("emitted") == 1


async def test_g3_one_child_that_cannot_be_added_stops_all_and_buries_the_parent(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    queue = QueueView(redis)

    async def parent(job: Job[None]) -> None:
        job.on_success += [
            new_job("child", id="fits"),
            new_job("child", id="does-not", partition="one-more"),
        ]

    async with emitting(server.url) as emit:
        await asyncio.gather(
            *(emit("other", partition=f"p{n}") for n in range(MAX_LANES - 1)),
            emit("parent"),
        )
        async with working(server.url, {"parent": parent}):
            letter = await aeventually(lambda: queue.letter("parent-1"))

    assert letter is not None
    assert letter["reason"] == b"failed"
    assert b"workers:one-more:0" in letter["error"]
    assert not queue.has_result("parent-1")
    assert queue.live("fits") is None
    assert queue.live("does-not") is None


async def test_g3_a_child_with_the_id_of_a_live_job_is_not_added_twice(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    queue = QueueView(redis)
    ran: list[str] = []

    async def parent(job: Job[None]) -> None:
        job.on_success.append(new_job("child", id="only-one", priority=-1))

    async def child(job: Job[None]) -> None:
        ran.append(job.id)

    async with emitting(server.url) as emit:
        await asyncio.gather(*(emit("parent") for _ in range(3)))
        async with working(server.url, {"parent": parent, "child": child}):
            await aeventually(queue.is_empty)

    assert ran == ["only-one"]
    assert queue.stats("completed") == 4
