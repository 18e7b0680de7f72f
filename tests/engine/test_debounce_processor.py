"""processor={"debounce": ...}: an id that has completed a run is skipped for a while."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest
import redis as redis_py

from consumers.connections.connector import Connector
from consumers.connections.wire import Wire
from consumers.jobs.outcome import Buried, Cancelled, Completed, Outcome, RetryAt
from consumers.store.keys import Keys
from consumers.store.settling import Settled, Settlement
from processors.debounce import RanBefore
from taskmanager import CallNext, Context, Job, JobCancelled, JobFailed, TaskManager
from tests.support.queue import Queue, new_job
from tests.support.servers import RedisServer
from tests.support.waiting import PATIENCE, aeventually

Make = Callable[..., TaskManager]
KEYS = Keys("default")
SKIPPED = "debounced: the same id ran within the last"


class Listener:
    """Keeps the kinds of the recorded outcomes."""

    def __init__(self, heard: list[type[Outcome]]) -> None:
        self._heard = heard

    def settled_many(self, settled: Sequence[Settled]) -> None:
        self._heard += [type(it.settlement.outcome) for it in settled if it.recorded]


def counting(tm: TaskManager, *, failures: int = 0) -> list[str]:
    """Register a handler whose first runs fail; return the ids of its runs."""
    ran: list[str] = []

    @tm.registerHandler(event="work")
    async def work(job: Job[Any]) -> int:
        ran.append(job.id)
        if len(ran) <= failures:
            raise OSError("not yet")
        return len(ran)

    return ran


async def skipped(tm: TaskManager, **given: Any) -> bool:
    """Emit and return whether the job was skipped."""
    handle = await tm.emit("work", **given)
    try:
        await handle.result(timeout=PATIENCE)
    except JobCancelled as error:
        return error.reason.startswith(SKIPPED)
    return False


async def test_an_id_that_ran_within_the_window_is_skipped(
    make: Make, redis: redis_py.Redis
) -> None:
    tm = make(processor={"debounce": 300})
    ran = counting(tm)
    await tm.start()

    assert [await skipped(tm, data=n) for n in (1, 1, 2, 1)] == [False, True, False, True]

    assert len(ran) == 2
    assert 290_000 < redis.pttl(KEYS.ran(ran[0])) <= 300_000


async def test_after_the_window_the_id_runs_again(make: Make) -> None:
    tm = make(processor={"debounce": 0.2})
    ran = counting(tm)
    await tm.start()

    async def runs_twice() -> bool:
        await skipped(tm)
        return len(ran) == 2

    await aeventually(runs_twice)


async def test_ids_of_other_queues_and_without_the_option_are_not_skipped(make: Make) -> None:
    plain, tm = make(), make(processor={"debounce_ms": 300_000})
    ran = counting(plain)

    @tm.registerHandler(event="work", queue="other")
    async def other(job: Job[Any]) -> None: ...

    await plain.start()
    await tm.start()

    assert [await skipped(plain, id="7") for _ in range(2)] == [False, False]
    assert [await skipped(tm, id="7", queue="other") for _ in range(2)] == [False, True]
    assert len(ran) == 2


async def test_a_run_that_failed_is_tried_again_and_counts_when_it_has_completed(
    make: Make,
) -> None:
    tm = make(processor={"debounce": 300, "retry": {"max_retries": 2, "retry_delay_ms": 10}})
    ran = counting(tm, failures=2)
    await tm.start()

    assert [await skipped(tm) for _ in range(2)] == [False, True]
    assert len(ran) == 3


async def test_a_dead_letter_that_is_replayed_runs(make: Make) -> None:
    tm = make(processor={"debounce": 300})
    ran = counting(tm, failures=1)
    await tm.start()
    handle = await tm.emit("work", id="7")
    with pytest.raises(JobFailed):
        await handle.result(timeout=PATIENCE)

    again = await tm.dlq.replay("7")

    assert await again.result(timeout=PATIENCE) == 2
    assert len(ran) == 2


async def test_a_run_that_returned_and_ended_as_cancelled_skips_nothing(
    make: Make, redis: redis_py.Redis
) -> None:
    heard: list[type[Outcome]] = []
    tm = make(processor={"debounce": 300}, telemetry=Listener(heard))
    ran: list[Any] = []

    @tm.registerHandler(event="work")
    async def work(job: Job[Any]) -> None:
        ran.append(job.data)
        if len(ran) == 1:
            # Nothing is awaited behind this: the run comes to its end before it is told.
            assert Queue(redis).cancel(job.id)[0] == "requested"

    await tm.start()
    cancelled = await tm.emit("work", id="7", data=1)
    with pytest.raises(JobCancelled):
        await cancelled.result(timeout=PATIENCE)
    await aeventually(lambda: not redis.exists(KEYS.ran("7")))

    assert [await skipped(tm, id="7", data=n) for n in (2, 3)] == [False, True]
    assert ran == [1, 2]
    await aeventually(lambda: heard == [Cancelled, Completed, Cancelled])


async def test_a_run_that_is_taken_back_leaves_the_mark_of_a_later_one(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    wire = Wire(Connector.from_url(server.url), name=None)
    ran_before = RanBefore(wire, "tm", 300_000)
    queue = Queue(redis)
    earlier = queue.one(new_job("7"))
    redis.set(KEYS.ran("7"), earlier.envelope.generation + 1)

    ran_before.settled_many([Settled(Settlement(earlier, Cancelled("cancelled")), True)])
    # On one connection: this is answered behind what the line before it sent.
    await wire.send("PING")
    await wire.close()

    assert redis.getdel(KEYS.ran("7")) == b"%d" % (earlier.envelope.generation + 1)


@pytest.mark.parametrize(
    ("outcome", "recorded", "stays"),
    [
        (Completed(), True, True),
        # Not ours any more: whoever runs it again sets the mark again.
        (Completed(), False, False),
        (Cancelled("cancelled"), True, False),
        (Buried("bad_outcome"), True, False),
        (RetryAt(0), True, False),
        # It ran elsewhere meanwhile: this worker knows nothing of its end.
        (RetryAt(0), False, True),
    ],
)
async def test_only_a_recorded_completion_counts_as_a_run(
    server: RedisServer, redis: redis_py.Redis, outcome: Outcome, recorded: bool, stays: bool
) -> None:
    wire = Wire(Connector.from_url(server.url), name=None)
    ran_before = RanBefore(wire, "tm", 300_000)
    delivery = Queue(redis).one(new_job("7"))
    redis.set(KEYS.ran("7"), delivery.envelope.generation, px=300_000)

    ran_before.settled_many([Settled(Settlement(delivery, outcome), recorded)])
    await wire.send("PING")
    await wire.close()

    assert redis.exists(KEYS.ran("7")) == stays


async def test_a_run_that_returns_because_it_was_cancelled_is_not_marked_at_all(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    wire = Wire(Connector.from_url(server.url), name=None)
    job = SimpleNamespace(queue="default", id="7", generation=1, cancelled=False)

    async def stopped() -> str:
        job.cancelled = True
        return "stopped"

    assert await RanBefore(wire, "tm", 300_000)(cast("Job[Any]", job), stopped) == "stopped"
    await wire.close()

    # An emit of the id may be fetched while the cancelled run is ending.
    assert not redis.exists(KEYS.ran("7"))


async def test_a_telemetry_that_fails_does_not_keep_a_dead_run_from_being_taken_back(
    make: Make, redis: redis_py.Redis
) -> None:
    class Deaf:
        def settled_many(self, settled: Sequence[Settled]) -> None:
            raise ValueError("deaf")

    tm = make(processor={"debounce": 300}, telemetry=Deaf())

    @tm.registerHandler(event="work")
    async def work(job: Job[Any]) -> object:
        return object()

    await tm.start()
    handle = await tm.emit("work", id="7")
    with pytest.raises(JobFailed):
        await handle.result(timeout=PATIENCE)

    await aeventually(lambda: not redis.exists(KEYS.ran("7")))


async def test_what_is_skipped_reaches_neither_middleware_nor_handler(make: Make) -> None:
    tm = make(processor={"debounce": 300})
    called: list[str] = []

    @tm.middleware
    async def outer(job: Job[Any], ctx: Context, call_next: CallNext) -> Any:
        called.append("middleware")
        return await call_next()

    counting(tm)
    await tm.start()

    assert [await skipped(tm) for _ in range(3)] == [False, True, True]
    assert called == ["middleware"]


async def test_synchronous_handlers_are_skipped_too(make: Make) -> None:
    tm = make(processor={"debounce": 300})
    threads: list[str] = []

    @tm.registerHandler(event="work")
    def work(job: Job[Any]) -> None:
        threads.append(threading.current_thread().name)

    await tm.start()

    assert [await skipped(tm) for _ in range(3)] == [False, True, True]
    assert len(threads) == 1
    assert threads[0] != threading.main_thread().name


async def test_what_ran_is_kept_where_results_are(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    other = server.url.removesuffix("/0") + "/1"
    tm = TaskManager(db=other, streamdb=server.url, processor={"debounce": 300})
    ran = counting(tm)

    async with tm:
        await tm.start()
        assert [await skipped(tm) for _ in range(2)] == [False, True]

    with redis_py.Redis.from_url(other) as kept:
        assert kept.pttl(KEYS.ran(ran[0])) > 0
        assert not redis.exists(KEYS.ran(ran[0]))
        kept.flushdb()


async def test_a_worker_leaves_no_connection_behind_and_may_start_again(
    make: Make, redis: redis_py.Redis
) -> None:
    tm = make(processor={"debounce": 300})
    ran = counting(tm)

    for _ in range(2):
        await tm.start()
        await skipped(tm)
        await tm.stop()

    assert len(ran) == 1
    await aeventually(lambda: names(redis) == [])


def names(redis: redis_py.Redis) -> list[str]:
    return [it["name"] for it in redis.client_list() if "debounce" in it["name"]]
