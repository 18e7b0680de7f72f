"""G6: never both done and dead; a letter keeps what its job was, and comes back once."""

from __future__ import annotations

import asyncio
import json

import redis as redis_py

from consumers.admin.dead_letters import DeadLetters
from consumers.connections.connector import Connector
from consumers.connections.wire import Wire
from consumers.jobs.bounds import DeadLetterBounds
from consumers.jobs.job import Job
from consumers.store.keys import Keys
from processors.retries.retry import RetryPolicy
from tests.support.engine import QueueView, emitting, new_job, working
from tests.support.servers import RedisServer
from tests.support.waiting import aeventually

AT_ONCE = RetryPolicy(max_retries=2, retry_delay_ms=0)


def dead_letters(server: RedisServer) -> tuple[Wire, DeadLetters]:
    wire = Wire(Connector.of(server.url), name="letters")
    return wire, DeadLetters(wire, Keys("default"), where=server.url)


async def test_g6_a_job_is_either_completed_or_dead_and_never_both(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    jobs, queue = 300, QueueView(redis)

    async def sometimes(job: Job[int]) -> int:
        if job.data % 3 == 0 or (job.data % 3 == 1 and job.attempt <= job.max_retries):
            raise ValueError(job.data)
        return job.data

    async with emitting(server.url) as emit:
        await asyncio.gather(*(emit("work", n) for n in range(jobs)))
        async with working(server.url, {"work": sometimes}, retry=AT_ONCE, concurrency=20):
            await aeventually(lambda: queue.stats("completed") + queue.stats("dead") >= jobs)

    dead = [letter["job"].decode() for letter in queue.letters()]
    done = [f"work-{n + 1}" for n in range(jobs) if queue.has_result(f"work-{n + 1}")]
    assert sorted(dead) == sorted(f"work-{n + 1}" for n in range(0, jobs, 3))
    assert sorted(dead + done) == sorted(f"work-{n + 1}" for n in range(jobs))
    assert (queue.stats("completed"), queue.stats("dead")) == (len(done), len(dead))


async def test_g6_a_letter_keeps_payload_options_history_and_the_last_10_errors(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    async def fail(job: Job[object]) -> None:
        raise ValueError(f"attempt {job.attempt}")

    data, options = {"n": [1, 2.5, None]}, {"max_retries": 12, "retry_delay_ms": 0, "x": "y"}
    async with emitting(server.url) as emit:
        await emit.producer.emit(new_job("fail", data, id="a", options=options, priority=5))
        async with working(server.url, {"fail": fail}):
            letter = await aeventually(lambda: QueueView(redis).letter("a"))

    assert letter is not None
    assert json.loads(letter["data"]) == data
    assert json.loads(letter["options"]) == options
    assert (letter["event"], letter["lane"]) == (b"fail", b"workers:default:5")
    assert letter["reason"] == b"failed"
    assert b"ValueError: attempt 13" in letter["error"]
    errors = json.loads(letter["errors"])
    assert [it["error"] for it in errors] == [f"ValueError: attempt {n}" for n in range(4, 14)]
    assert [it["attempt"] for it in errors] == list(range(4, 14))
    assert all(it["at"] > 0 and it["delivery"] == it["attempt"] for it in errors)

    wire, letters = dead_letters(server)
    read = await letters.get("a")
    await wire.close()
    assert read is not None
    assert (read.data, read.attempts, read.deliveries) == (data, 13, 13)
    assert read.errors == errors


async def test_g6_a_replayed_job_is_a_new_generation_with_a_fresh_budget_and_can_die_again(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    queue, runs = QueueView(redis), []

    async def fail(job: Job[None]) -> None:
        runs.append((job.generation, job.attempt))
        raise ValueError("always")

    wire, letters = dead_letters(server)
    async with emitting(server.url) as emit, working(server.url, {"fail": fail}, retry=AT_ONCE):
        await emit("fail", id="a")
        await aeventually(lambda: queue.stats("dead") == 1)
        (first,) = await letters.replay(["a"], patience=5.0)
        await aeventually(lambda: queue.stats("dead") == 2)
    await wire.close()

    assert first == "+2"
    assert runs == [(1, 1), (1, 2), (1, 3), (2, 1), (2, 2), (2, 3)]
    assert [letter["job"] for letter in queue.letters()] == [b"a"]


async def test_g6_a_replay_is_refused_while_the_id_is_live(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    queue, go_on, running = QueueView(redis), asyncio.Event(), asyncio.Event()

    async def work(job: Job[None]) -> None:
        if job.generation == 1:
            raise ValueError("first")
        running.set()
        await go_on.wait()

    wire, letters = dead_letters(server)
    async with emitting(server.url) as emit, working(server.url, {"work": work}):
        await emit("work", id="a")
        await aeventually(lambda: queue.stats("dead") == 1)
        await emit("work", id="a")
        await running.wait()
        refused = await letters.replay(["a"], patience=5.0)
        still_there = queue.letter("a")
        go_on.set()
        await aeventually(lambda: queue.stats("completed") == 1)
        replayed = await letters.replay(["a", "a"], patience=5.0)
        await aeventually(lambda: queue.stats("completed") == 2)
    await wire.close()

    assert (refused, replayed) == (["=2"], ["+3", "=3"])
    assert still_there is not None
    assert queue.letters() == []


async def test_g6_many_replays_at_once_bring_each_job_back_once(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    queue, ids = QueueView(redis), [f"fail-{n}" for n in range(1, 601)]

    async def fail(job: Job[None]) -> None:
        raise ValueError

    async with emitting(server.url) as emit:
        await asyncio.gather(*(emit("fail") for _ in ids))
        async with working(server.url, {"fail": fail}, concurrency=50):
            await aeventually(lambda: queue.stats("dead") == len(ids))
    several = [dead_letters(server) for _ in range(4)]
    found = await asyncio.gather(
        *(
            letters.replay(ids[first : first + 300], patience=5.0)
            for first in (0, 300)
            for _, letters in several
        )
    )
    for wire, _ in several:
        await wire.close()

    created = [word for words in found for word in words if word.startswith("+")]
    assert len(created) == len(set(created)) == len(ids)
    waiting = [fields[b"id"].decode() for _, fields in redis.xrange(queue.lane())]
    assert sorted(waiting) == sorted(ids)
    assert queue.letters() == []


async def test_g6_letters_stay_within_their_bound_and_trims_are_counted(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    queue = QueueView(redis)

    async def fail(job: Job[None]) -> None:
        raise ValueError

    async with emitting(server.url) as emit:
        await asyncio.gather(*(emit("fail") for _ in range(50)))
        async with working(server.url, {"fail": fail}, dead_letters=DeadLetterBounds(most=20)):
            await aeventually(lambda: queue.stats("dead") == 50)

    assert len(queue.letters()) == redis.hlen(queue.keys.dead_index) == 20
    assert queue.stats("dead_trimmed") == 30


async def test_g6_old_letters_go_although_nothing_dies_any_more(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    queue = QueueView(redis)
    redis.xadd(queue.keys.dead, {"job": "old", "size": 3}, id="1-1")

    async with working(server.url, {}) as worker:
        assert worker._parts is not None
        await worker._parts.janitor.tidy(queue.keys)

    assert (queue.letters(), queue.stats("dead_trimmed")) == ([], 1)
