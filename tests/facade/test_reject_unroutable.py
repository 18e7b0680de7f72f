"""reject_unroutable=True: an emit that no live worker may run is refused, and nothing is sent."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
import redis as redis_py

from consumers.admin import live
from consumers.jobs.routes import Profile
from consumers.store.fleet import FORGET_AFTER_MS
from consumers.store.keys import Keys
from consumers.store.queue_workers import WorkerState, register_worker
from taskmanager import BrokenKey, NoCapableWorker, RedisUnavailable, TaskManager
from tests.support.facade import letters, run_all, waiting
from tests.support.proxy import FaultProxy
from tests.support.servers import RedisServer
from tests.support.waiting import aeventually

Make = Callable[..., TaskManager]
KEYS = Keys("default")
ADVICE = (
    ". Nothing was sent: start a worker that may, change what the job requires, or leave "
    "reject_unroutable out, so that it waits for one"
)


def listed(redis: redis_py.Redis, name: str, **given: Any) -> None:
    """List a worker of the default queue as its heartbeat does."""
    names = ("type", "capabilities", "levels", "region")
    about = {it: given.pop(it) for it in names if it in given}
    profile = Profile(name, **about)
    told = WorkerState(profile, 4, 0, frozenset(given.pop("events", ["render"])), 1, **given)
    redis.execute_command(*register_worker(KEYS, f"{name}.0", told).by_source)


def reads(redis: redis_py.Redis) -> int:
    """Return how often anyone has read the workers of a queue."""
    stats: Any = redis.info("commandstats")
    calls = stats.get("cmdstat_hgetall", {"calls": 0})["calls"]
    return int(calls)


async def refused(tm: TaskManager, **given: Any) -> str:
    """Return what an emit says that is refused."""
    with pytest.raises(NoCapableWorker) as caught:
        await tm.emit("render", id="a", reject_unroutable=True, **given)
    assert (caught.value.job_id, caught.value.event) == ("a", "render")
    assert caught.value.queue == given.get("queue", "default")
    return str(caught.value)


async def test_a_queue_without_workers_refuses_the_job(
    tm: TaskManager, redis: redis_py.Redis
) -> None:
    assert await refused(tm, queue="media", type="encoder", region="eu") == (
        "no live worker of queue 'media' may run job 'a' (event 'render', type 'encoder', in "
        "region eu, priority 0): it has no live worker" + ADVICE
    )
    assert redis.keys("tm:*") == []


LACKS: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    ({"type": "encoder"}, {}, "is of type 'encoder'"),
    ({"events": ["other"]}, {}, "does not handle 'render'"),
    ({"events": ["other"]}, {"requires": ["gpu"]}, "does not handle 'render' and lacks gpu"),
    ({"capabilities": frozenset({"av1"})}, {"requires": ["gpu", "av1"]}, "lacks gpu"),
    ({"region": "us"}, {"region": "eu", "requires": ["gpu"]}, "lacks gpu and is in region us"),
    ({}, {"region": "eu"}, "has no region"),
    ({}, {"only": ["big"]}, "is not named"),
    ({}, {"anti_affinity": ["enc-1"]}, "is excluded"),
    ({"levels": frozenset({0, 5})}, {"priority": 1}, "takes priorities 5 and 0 only"),
    ({"stopping": True, "type": "encoder"}, {}, "is stopping"),
]


@pytest.mark.parametrize(("worker", "given", "why"), LACKS)
async def test_a_job_that_no_worker_may_run_is_refused_with_what_each_lacks(
    tm: TaskManager,
    redis: redis_py.Redis,
    worker: dict[str, Any],
    given: dict[str, Any],
    why: str,
) -> None:
    listed(redis, "enc-1", **worker)

    assert f"): enc-1 {why}{ADVICE}" in await refused(tm, **given)
    assert waiting(redis) == 0


async def test_at_most_five_workers_are_named(tm: TaskManager, redis: redis_py.Redis) -> None:
    for n in range(7):
        listed(redis, f"w{n}", stopping=True)

    said = await refused(tm)

    whys = "; ".join(f"w{n} is stopping" for n in range(5))
    assert f"(event 'render', type 'workers', priority 0): {whys}; 2 more{ADVICE}" in said


async def test_one_worker_that_may_run_it_is_enough(tm: TaskManager, redis: redis_py.Redis) -> None:
    listed(redis, "old", type="encoder")
    listed(redis, "fits", capabilities=frozenset({"gpu", "av1"}), levels=frozenset({5}))

    handle = await tm.emit("render", requires=["gpu"], priority=5, reject_unroutable=True)

    assert handle.created
    assert waiting(redis) == 1


async def test_a_worker_that_was_silent_for_a_minute_does_not_count(
    tm: TaskManager, redis: redis_py.Redis
) -> None:
    listed(redis, "dead")
    seen, _, told = redis.hget(KEYS.workers, "dead.0").partition(b" ")  # type: ignore[union-attr]
    redis.hset(KEYS.workers, "dead.0", f"{int(seen) - FORGET_AFTER_MS - 1} ".encode() + told)

    assert "priority 0): it has no live worker" in await refused(tm)


async def every_way(tm: TaskManager) -> list[Any]:
    """Emit in every way; return the handles or errors."""

    @tm.task(event="paint")
    async def paint(n: int) -> None: ...

    given: Any = {"deduplicate": False, "reject_unroutable": True}
    item, strict = {"event": "render", **given}, paint.options(reject_unroutable=True)
    ways: list[Any] = [
        tm.emit("render", **given),
        tm.emit(item),
        tm.emit("render", deduplicate=False, options={"rejectUnroutable": True}),
        tm.emit_many([item]),
        tm.get_context().emit("render", **given),
        strict.emit(1),
        paint.emit_many([strict.bind(2)]),
        asyncio.to_thread(lambda: tm.emit_sync("render", **given)),
        asyncio.to_thread(lambda: tm.sync.emit("render", **given)),
        asyncio.to_thread(lambda: tm.sync.emit_many([item])),
        asyncio.to_thread(lambda: strict.emit_sync(3)),
    ]
    return await asyncio.gather(*ways, return_exceptions=True)


async def test_every_way_to_emit_refuses_and_accepts(make: Make, redis: redis_py.Redis) -> None:
    ends = await every_way(make())

    assert [type(it) for it in ends] == [NoCapableWorker] * 11
    assert waiting(redis) == 0

    listed(redis, "web", events=["render", "paint"])
    ends = await every_way(make())

    assert [it for it in ends if isinstance(it, Exception)] == []
    assert waiting(redis) == 11


async def test_emit_many_sends_all_or_nothing(make: Make, redis: redis_py.Redis) -> None:
    listed(redis, "web")
    tm, strict = make(), {"reject_unroutable": True}
    items: list[dict[str, Any]] = [
        {"event": "plain"},
        {"event": "render", "data": 1, **strict},
        {"event": "render", "data": 2, "requires": ["gpu"], **strict},
        {"event": "render", "data": 3, "requires": ["av1"], **strict},
    ]

    with pytest.raises(NoCapableWorker, match="web lacks gpu") as caught:
        await tm.emit_many(items)

    assert caught.value.__notes__ == ["in item 2 of emit_many (counted from 0); nothing was sent"]
    assert waiting(redis) == 0
    assert len(await tm.emit_many(items[:2])) == 2
    assert waiting(redis) == 2


async def test_what_was_seen_a_moment_ago_is_not_read_again(
    tm: TaskManager, redis: redis_py.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "FRESH", 3600.0)
    await refused(tm)

    # That looks for silent workers itself.
    listed(redis, "web")
    before = reads(redis)
    assert "it has no live worker" in await refused(tm)
    await refused(tm, priority=3)
    await tm.emit("render")

    assert reads(redis) == before


async def test_emits_at_the_same_time_share_one_read(
    tm: TaskManager, redis: redis_py.Redis
) -> None:
    listed(redis, "web")
    before = reads(redis)

    some = [tm.emit("render", data=n, reject_unroutable=True) for n in range(20)]
    await asyncio.gather(*some)

    assert reads(redis) == before + 1


async def test_an_emit_without_the_option_reads_no_workers(
    tm: TaskManager, redis: redis_py.Redis
) -> None:
    before = reads(redis)

    await tm.emit("render", requires=["gpu"])
    await tm.emit_many([{"event": "render", "data": n} for n in range(3)])

    assert reads(redis) == before


async def test_a_running_worker_counts_until_it_stops(make: Make) -> None:
    tm, ran = make(capabilities=["gpu"]), list[Any]()
    tm.registerHandler(lambda job: ran.append(job.data), {"event": "render", "requires": ["gpu"]})
    given: Any = {"requires": ["gpu"], "reject_unroutable": True}
    await refused(make(), requires=["gpu"])

    await tm.start()
    await make().emit("render", data=1, **given)
    await aeventually(lambda: ran == [1])
    await tm.stop()

    assert "it has no live worker" in await refused(make(), requires=["gpu"])


async def test_a_handler_that_does_not_await_it_fails(make: Make, redis: redis_py.Redis) -> None:
    tm, seen = make(), list[str]()

    @tm.registerHandler(event="parent")
    async def parent(job: Any, ctx: Any) -> None:
        ctx.emit("render", requires=["gpu"], reject_unroutable=True)

    @tm.registerHandler(event="thread")
    def thread(job: Any, ctx: Any) -> None:
        with pytest.raises(NoCapableWorker) as caught:
            ctx.emit("render", requires=["gpu"], reject_unroutable=True)
        seen.append(str(caught.value))

    await tm.emit("parent")
    await tm.emit("thread")
    await run_all(tm)

    assert "NoCapableWorker" in letters(redis)[0]
    assert "does not handle 'render' and lacks gpu" in seen[0]


async def test_while_redis_is_away_it_is_said_within_the_timeout_that_nothing_was_sent(
    make: Make, server: RedisServer, redis: redis_py.Redis
) -> None:
    with FaultProxy(server.port) as proxy:
        tm = make(redis=proxy.url, emit_timeout=0.5)
        await tm.emit("render", data=1)
        for broken in (proxy.refuse, proxy.swallow):
            broken()
            with pytest.raises(RedisUnavailable) as caught:
                await tm.emit("render", data=2, reject_unroutable=True)
            assert caught.value.outcome == "not_sent"
            proxy.pass_all()

    assert waiting(redis) == 1


async def test_a_read_is_repeated_while_redis_is_away_for_a_moment(
    make: Make, server: RedisServer, redis: redis_py.Redis
) -> None:
    listed(redis, "web")
    with FaultProxy(server.port) as proxy:
        tm = make(redis=proxy.url, emit_timeout=30)
        await tm.emit("render", data=1)
        proxy.refuse()
        emission = tm.emit("render", data=2, reject_unroutable=True)
        await aeventually(lambda: proxy.refused > 1)
        proxy.pass_all()

        assert (await emission).created


@pytest.mark.foreign_keys
async def test_somebody_elses_value_in_the_place_of_the_workers_is_named(
    tm: TaskManager, redis: redis_py.Redis
) -> None:
    redis.set(KEYS.workers, "mine")

    with pytest.raises(BrokenKey, match="workers"):
        await tm.emit("render", reject_unroutable=True)


async def test_whoever_gives_up_takes_the_answer_from_nobody_else(
    tm: TaskManager, redis: redis_py.Redis
) -> None:
    listed(redis, "web")
    first = asyncio.ensure_future(tm.emit("render", data=1, reject_unroutable=True))
    other = asyncio.ensure_future(
        tm.emit_many([{"event": "render", "data": 2, "reject_unroutable": True}])
    )
    await asyncio.sleep(0)

    other.cancel()

    assert (await first).created
    with pytest.raises(asyncio.CancelledError):
        await other
