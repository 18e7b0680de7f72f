"""Waiting for the end of jobs: told by the settle, and never told another run's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest
import redis as redis_py

from consumers.admin.facts import End, Facts
from consumers.admin.results import Results
from consumers.connections.connector import Connector
from consumers.connections.wire import Wire
from consumers.jobs.job import Job
from consumers.jobs.outcome import Buried, Cancelled, Completed, Outcome
from consumers.store.keys import Keys
from tests.support.engine import emitting, working
from tests.support.queue import Queue, full_memory, new_job
from tests.support.servers import RedisServer
from tests.support.waiting import PATIENCE, aeventually

KEYS = Keys("default")


@pytest.fixture
async def results(server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Results]:
    # No test is passed by the look that makes lost messages good, unless it is about that look.
    monkeypatch.setattr("consumers.admin.results.ASK_AGAIN", 3600.0)
    connector = Connector.of(server.url)
    wire = Wire(connector, name="waits")
    results = Results(connector, wire)
    yield results
    await results.close()
    await wire.close()


async def waiting(queue: Queue, results: Results, job_id: str = "a", run: int = 1) -> asyncio.Task:
    """Return a wait that Redis knows of."""
    task = asyncio.create_task(results.wait(queue.keys, job_id, run))
    await aeventually(lambda: queue.redis.hexists(queue.keys.waiters, job_id))
    return task


ENDS: list[tuple[Outcome, str, bytes]] = [
    (
        Completed('{"a b":["\N{SNOWMAN}"]}'.encode()),
        "completed",
        '{"a b":["\N{SNOWMAN}"]}'.encode(),
    ),
    (Cancelled("not wanted"), "cancelled", b"not wanted"),
]


@pytest.mark.parametrize(("outcome", "state", "value"), ENDS)
async def test_a_wait_ends_with_what_the_settle_tells(
    redis: redis_py.Redis, results: Results, outcome: Outcome, state: str, value: bytes
) -> None:
    queue = Queue(redis)
    delivery = queue.one()
    wait = await waiting(queue, results)

    queue.settle((delivery, outcome), result_ttl_ms=0)

    assert await asyncio.wait_for(wait, PATIENCE) == End(1, state, value)


async def test_a_wait_for_a_job_that_dies_ends_with_its_letters_entry(
    redis: redis_py.Redis, results: Results
) -> None:
    queue = Queue(redis)
    delivery = queue.one()
    wait = await waiting(queue, results)

    queue.settle((delivery, Buried("failed")))

    entry = redis.hget(queue.keys.dead_index, "a")
    assert await asyncio.wait_for(wait, PATIENCE) == End(1, "dead", entry)


async def test_what_has_ended_is_answered_at_once(redis: redis_py.Redis, results: Results) -> None:
    queue = Queue(redis)
    queue.settle((queue.one(), Completed(b"1")))

    facts = await asyncio.wait_for(results.wait(KEYS, "a", 1), PATIENCE)

    assert isinstance(facts, Facts)
    assert (facts.state, facts.end) == ("completed", End(1, "completed", b"1"))


async def test_what_is_long_gone_is_answered_at_once(results: Results) -> None:
    facts = await asyncio.wait_for(results.wait(KEYS, "a", 1), PATIENCE)

    assert isinstance(facts, Facts)
    assert (facts.state, facts.generation, facts.end) == ("unknown", None, None)


async def test_a_wait_for_the_second_run_is_not_ended_by_the_firsts_result(
    redis: redis_py.Redis, results: Results
) -> None:
    queue = Queue(redis)
    queue.settle((queue.one(), Completed(b'"first"')))
    delivery = queue.one(new_job("a"))
    wait = await waiting(queue, results, run=2)
    await asyncio.sleep(0.05)  # long enough to have been answered wrongly
    assert not wait.done()

    queue.settle((delivery, Completed(b'"second"')))

    assert await asyncio.wait_for(wait, PATIENCE) == End(2, "completed", b'"second"')


async def test_a_wait_for_the_first_run_is_not_ended_by_the_seconds_result(
    redis: redis_py.Redis, results: Results
) -> None:
    queue = Queue(redis)
    first = queue.one()
    wait = await waiting(queue, results)
    # The first run lost its place in the index; a second one is live and ends.
    redis.hdel(queue.keys.live("a"), "a")
    second = queue.one(new_job("a"))
    queue.settle((second, Completed(b'"second"')))
    await asyncio.sleep(0.05)  # long enough to have been answered wrongly
    assert not wait.done()

    queue.settle((first, Completed(b'"first"')))
    wait.cancel()

    facts = await asyncio.wait_for(results.wait(KEYS, "a", 1), PATIENCE)
    assert isinstance(facts, Facts)
    assert facts.end == End(1, "completed", b'"first"')


async def test_a_second_wait_for_a_replayed_job_is_for_its_new_run(
    redis: redis_py.Redis, results: Results
) -> None:
    queue = Queue(redis)
    queue.settle((queue.one(), Buried("failed")))
    queue.replay("a")

    first = await asyncio.wait_for(results.wait(KEYS, "a", 1), PATIENCE)
    redis.delete(KEYS.waiters)
    wait = await waiting(queue, results, run=2)
    (delivery,) = queue.deliver()
    queue.settle((delivery, Completed(b"2")))

    assert isinstance(first, Facts)
    assert first.end is not None
    assert (first.generation, first.end.state, first.end.generation) == (2, "dead", 1)
    assert await asyncio.wait_for(wait, PATIENCE) == End(2, "completed", b"2")


async def test_1000_waiters_cost_no_polling(
    server: RedisServer, redis: redis_py.Redis, results: Results
) -> None:
    waits, go_on = 1000, asyncio.Event()

    async def work(job: Job[int]) -> int:
        await go_on.wait()
        return job.data

    async with emitting(server.url) as emit:
        await asyncio.gather(*(emit("work", n) for n in range(waits)))
        async with working(server.url, {"work": work}, concurrency=waits):
            asked = inspections(redis)
            tasks = [
                asyncio.create_task(results.wait(KEYS, f"work-{n + 1}", n + 1))
                for n in range(waits)
            ]
            await aeventually(lambda: redis.hlen(KEYS.waiters) == waits)
            assert inspections(redis) - asked == waits
            await asyncio.sleep(1.0)  # what polling would show in
            go_on.set()
            ends = await asyncio.wait_for(asyncio.gather(*tasks), PATIENCE)

    # And each batch of outcomes looks for the one before.
    assert waits <= inspections(redis) - asked <= waits + waits / 10
    assert ends == [End(n + 1, "completed", str(n).encode()) for n in range(waits)]
    assert redis.hlen(KEYS.waiters) == 0


def inspections(redis: redis_py.Redis) -> int:
    """How often a job was asked for; each looks for a result once."""
    return int(redis.info("commandstats").get("cmdstat_get", {"calls": 0})["calls"])


async def test_a_message_that_was_lost_with_the_connection_is_made_good_at_its_return(
    redis: redis_py.Redis, results: Results
) -> None:
    queue = Queue(redis)
    delivery = queue.one()
    wait = await waiting(queue, results)

    redis.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
    queue.settle((delivery, Completed(b"1")))

    end = await asyncio.wait_for(wait, PATIENCE)
    assert isinstance(end, Facts)
    assert end.end == End(1, "completed", b"1")


async def test_a_wait_begun_in_full_memory_ends_too(
    redis: redis_py.Redis, results: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("consumers.admin.results.ASK_AGAIN", 0.3)
    queue = Queue(redis)
    delivery = queue.one()

    with full_memory(redis):
        wait = asyncio.create_task(results.wait(KEYS, "a", 1))
        await asyncio.sleep(0.1)
        queue.settle((delivery, Completed(b"1")))
        end = await asyncio.wait_for(wait, PATIENCE)

    assert isinstance(end, Facts)
    assert end.end == End(1, "completed", b"1")


async def test_a_wait_begun_while_redis_is_away_goes_on_when_it_is_back(
    server: RedisServer, redis: redis_py.Redis, results: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("consumers.admin.results.ASK_AGAIN", 0.3)
    server.kill()
    wait = asyncio.create_task(results.wait(KEYS, "a", 1))
    await asyncio.sleep(0.5)

    server.start()

    facts = await asyncio.wait_for(wait, PATIENCE)
    assert isinstance(facts, Facts)
    assert facts.state == "unknown"


async def test_a_wait_that_is_cancelled_ends_whatever_it_was_about_to_do(
    redis: redis_py.Redis, results: Results
) -> None:
    queue = Queue(redis)
    queue.emit(new_job("a"))
    listening = await waiting(queue, results)

    async def cancelled_after(turns: int) -> None:
        wait = asyncio.create_task(results.wait(queue.keys, "a", 1))
        for _ in range(turns):
            await asyncio.sleep(0)
        wait.cancel()
        await wait

    waits = [asyncio.create_task(cancelled_after(turns)) for turns in range(50)]
    ended, hung = await asyncio.wait(waits, timeout=20.0)
    for wait in (listening, *hung):
        wait.cancel()

    assert len(ended) == len(waits)
    assert all(wait.cancelled() for wait in ended)


async def test_a_wait_for_many_large_jobs_ends_for_each_whose_entry_was_deleted(
    redis: redis_py.Redis, results: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("consumers.admin.results.ASK_AGAIN", 0.2)
    queue, names = Queue(redis), [f"job-{n}" for n in range(6)]
    queue.emit(*(new_job(name, data=b"x" * 500_000) for name in names))
    waits = [await waiting(queue, results, name, n) for n, name in enumerate(names, start=1)]

    redis.xtrim(queue.stream().key, maxlen=3, approximate=False)

    async with asyncio.timeout(30.0):
        ended = await asyncio.gather(*waits[:3])
    assert [(it.generation, it.state) for it in ended] == [(None, "unknown")] * 3
    assert not any(it.done() for it in waits[3:])
    for wait in waits[3:]:
        wait.cancel()


async def test_who_gives_up_is_told_nothing_any_more(
    redis: redis_py.Redis, results: Results
) -> None:
    queue = Queue(redis)
    queue.emit(new_job("a"))
    one, other = await waiting(queue, results), await waiting(queue, results)
    await aeventually(lambda: len(results._told["tm:{default}:", "a", 1]) == 2, within=30.0)

    one.cancel()
    await asyncio.wait({one})
    assert redis.hexists(queue.keys.waiters, "a")

    other.cancel()
    await asyncio.wait({other})
    await aeventually(lambda: not redis.exists(queue.keys.waiters), within=30.0)


async def test_who_asks_for_an_earlier_run_is_told_of_no_later_one(
    redis: redis_py.Redis, results: Results
) -> None:
    queue = Queue(redis)
    queue.settle((queue.one(), Completed(b"1")))
    queue.emit(new_job("a"))

    found = await results.wait(queue.keys, "a", 1)

    assert isinstance(found, Facts)
    assert found.generation == 2
    await aeventually(lambda: not redis.exists(queue.keys.waiters), within=30.0)


async def test_waits_in_several_queues_are_told_on_one_connection(
    redis: redis_py.Redis, results: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("consumers.admin.results.ASK_AGAIN", 300.0)
    queues = [Queue(redis, name) for name in ("one", "two", "three")]
    deliveries = [it.one(new_job("a", queue=it.lane.queue)) for it in queues]
    waits = [await waiting(it, results) for it in queues]

    for queue, delivery in zip(queues, deliveries, strict=True):
        queue.settle((delivery, Completed(queue.lane.queue.encode())))

    async with asyncio.timeout(30.0):
        ends = await asyncio.gather(*waits)
    assert ends == [End(1, "completed", name) for name in (b"one", b"two", b"three")]
    assert len(redis.client_list(_type="pubsub")) == 1


async def test_waits_of_several_queues_are_told_after_the_connection_broke(
    redis: redis_py.Redis, results: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("consumers.admin.results.ASK_AGAIN", 300.0)
    queues = [Queue(redis, name) for name in ("one", "two")]
    deliveries = [it.one(new_job("a", queue=it.lane.queue)) for it in queues]
    waits = [await waiting(it, results) for it in queues]
    redis.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
    await aeventually(lambda: listeners(queues) == [1, 1], within=30.0)

    for queue, delivery in zip(queues, deliveries, strict=True):
        queue.settle((delivery, Completed(b"1")))

    async with asyncio.timeout(30.0):
        ended = await asyncio.gather(*waits)
    # Told, or read again by a connection that was made anew.
    ends = [it.end if isinstance(it, Facts) else it for it in ended]
    assert ends == [End(1, "completed", b"1")] * 2


def listeners(queues: Sequence[Queue]) -> list[int]:
    """Return how many processes hear of the ends of each queue's jobs."""
    return [len(it.redis.pubsub_channels(f"{it.keys.results('')}*")) for it in queues]
