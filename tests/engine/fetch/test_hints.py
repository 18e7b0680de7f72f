"""Hints make things quick and are never needed; what is held goes back; outages only delay."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from typing import Any, cast

import pytest
import redis as redis_py

from consumers.consumer import Consumer
from consumers.jobs.job import Job
from tests.support.engine import (
    SHORT_LEASE,
    QueueView,
    emit_one_to_run_and_one_to_hold,
    emitting,
    working,
    working_thread,
)
from tests.support.proxy import FaultProxy
from tests.support.queue import Queue
from tests.support.servers import RedisServer
from tests.support.waiting import PATIENCE, aeventually


class Watched:
    """Counts what a fetcher does: its turns, and how often it reads the truth about lanes."""

    def __init__(self, worker: Consumer) -> None:
        self.turns = self.looks = 0
        assert worker._parts is not None
        fetcher = worker._parts.fetcher
        self.fetcher = fetcher
        self._step, self._refresh = fetcher._step, fetcher.follower.refresh
        fetcher._step = self._count_turn  # type: ignore[method-assign]
        fetcher.follower.refresh = self._count_look  # type: ignore[method-assign]

    async def _count_turn(self) -> None:
        self.turns += 1
        await self._step()

    async def _count_look(self) -> None:
        self.looks += 1
        await self._refresh()


async def test_without_any_hint_everything_runs_after_a_look_or_two_at_the_lanes(
    server: RedisServer,
) -> None:
    ran: list[str] = []

    async def work(job: Job[None]) -> None:
        ran.append(job.id)

    with FaultProxy(server.port) as proxy:
        proxy.mute_pubsub()
        # The old worker meets the events that only the other one handles.
        async with (
            emitting(proxy.url) as emit,
            working(proxy.url, {"work": work}) as old,
            working(proxy.url, {"work": work, "new": work}) as new,
        ):
            await aeventually(lambda: old._parts.fetcher.idle)  # type: ignore[union-attr]
            watched = Watched(old), Watched(new)
            emits = [
                emit(event, **lane)
                for n in range(5)
                for event, lane in (
                    ("work", {"priority": n}),
                    ("work", {"partition": f"tenant-{n}"}),
                    ("new", {"priority": n}),
                )
            ]
            await asyncio.gather(*emits)
            before = [it.looks for it in watched]
            await aeventually(lambda: len(ran) == 15)
            looks = [it.looks - then for it, then in zip(watched, before, strict=True)]

    # One that was under way at the emits, one that sees all lanes, one for what the old one
    # handed back.
    assert max(looks) <= 3


async def test_a_hint_of_a_cancellation_that_nobody_made_ends_no_run(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    """Whoever may publish may send hints; only the mark in Redis ends a job."""
    queue, may_end = QueueView(redis), asyncio.Event()

    async def work(job: Job[None]) -> str:
        await may_end.wait()
        return "not cancelled"

    async with (
        emitting(server.url) as emit,
        working(server.url, {"work": work}, concurrency=2) as worker,
    ):
        await asyncio.gather(emit("work"), emit("work"))
        await aeventually(lambda: worker.running == 2, within=20.0)
        for stream, entry, *_ in queue.pending():
            hint = f"cancel {stream.removeprefix(f'{queue.keys.base}lane:')} {entry}"
            redis.publish(queue.keys.control, hint)
        # Hints come in order: once this one has done its work, the others have done theirs.
        Queue(redis).cancel("work-2")
        await aeventually(lambda: worker.running == 1, within=20.0)
        may_end.set()
        await aeventually(queue.is_empty, within=20.0)

    assert queue.result("work-1") == "not cancelled"
    assert not queue.has_result("work-2")


async def test_an_idle_worker_asks_redis_a_handful_of_times_and_lets_its_loop_rest(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    async def work(job: Job[None]) -> None:
        pass

    async with working(server.url, {"work": work}) as worker:
        await aeventually(lambda: worker._parts.fetcher.idle)  # type: ignore[union-attr]
        watched = Watched(worker)
        with counting_turns_of_the_loop() as turns:
            redis.config_resetstat()
            # Nothing but these looks ends a time without work.
            await two_looks(watched)
            stats = cast("dict[str, Any]", redis.info("commandstats"))

    calls = {name.removeprefix("cmdstat_"): it["calls"] for name, it in stats.items()}
    calls.pop("info", None)
    assert sum(calls.values()) < 50, calls
    assert watched.turns < 20
    assert len(turns) < 500


async def two_looks(watched: Watched) -> None:
    """Return when a fetcher has looked at its lanes twice more; the loop has no other work."""
    seen, looked = asyncio.Event(), watched._count_look
    wanted = watched.looks + 2

    async def look() -> None:
        await looked()
        if watched.looks >= wanted:
            seen.set()

    watched.fetcher.follower.refresh = look  # type: ignore[method-assign]
    await asyncio.wait_for(seen.wait(), PATIENCE)


@contextlib.contextmanager
def counting_turns_of_the_loop() -> Iterator[list[None]]:
    """Count how often the running loop wakes: what a busy loop shows in."""
    selector: Any = asyncio.get_running_loop()._selector  # type: ignore[attr-defined]
    select, turns = selector.select, list[None]()

    def counted(timeout: float | None = None) -> Any:
        turns.append(None)
        return select(timeout)

    selector.select = counted
    try:
        yield turns
    finally:
        del selector.select


async def test_a_suspect_that_runs_alone_makes_no_busy_loop(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    queue = QueueView(redis)

    async def work(job: Job[None]) -> None:
        await asyncio.sleep(60)

    async with emitting(server.url) as emit:
        await emit("work")
        queue.abandon(crashes=2)
        queue.expire()
        async with working(server.url, {"work": work}, concurrency=8) as worker:
            await aeventually(lambda: worker.running == 1)
            watched = Watched(worker)
            # A time in which nothing may start.
            await two_looks(watched)

    # Four a second, and a look each two seconds.
    assert watched.turns < 100


async def test_what_is_held_and_not_started_soon_runs_elsewhere(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    queue = QueueView(redis)
    ran: list[tuple[str, int]] = []
    may_end = asyncio.Event()

    async def slow(job: Job[None]) -> None:
        await may_end.wait()

    async def work(job: Job[None]) -> None:
        ran.append((job.id, job.attempt))

    async with emitting(server.url) as emit:
        await emit_one_to_run_and_one_to_hold(emit, "slow", "work")
        handlers = {"slow": slow, "work": work}
        async with working(server.url, handlers) as busy:
            await aeventually(lambda: len(queue.pending()) == 2)
            async with working(server.url, handlers):
                await aeventually(lambda: ran == [("work-1", 1)])
                assert busy.running == 1
                may_end.set()
                await aeventually(queue.is_empty)

    assert queue.stats("released") == 1


async def test_what_is_held_goes_back_while_the_loop_is_blocked_and_is_not_started_twice(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    queue = QueueView(redis)
    ran: list[str] = []
    may_end = threading.Event()

    async def slow(job: Job[None]) -> None:
        may_end.wait(PATIENCE)

    async def work(job: Job[None]) -> None:
        ran.append(job.id)

    async with emitting(server.url) as emit:
        await emit_one_to_run_and_one_to_hold(emit, "slow", "work")
        with working_thread(server.url, {"slow": slow, "work": work}) as busy:
            await aeventually(lambda: queue.stats("released") == 1)
            assert ran == []
            may_end.set()
            # Its own loop wakes, and takes it back from the front.
            await aeventually(queue.is_empty)
            assert busy.fenced == 0

    assert ran == ["work-1"]


@pytest.mark.parametrize("command", ["EVALSHA", "XREADGROUP"])
async def test_replies_that_are_lost_all_the_time_only_delay(
    server: RedisServer, redis: redis_py.Redis, command: str
) -> None:
    queue = QueueView(redis)
    runs: list[str] = []

    async def work(job: Job[None]) -> None:
        runs.append(job.id)

    with FaultProxy(server.port) as proxy:
        async with (
            emitting(server.url) as emit,
            working(proxy.url, {"work": work}, concurrency=4, lease=SHORT_LEASE) as worker,
        ):
            await asyncio.gather(*(emit("work") for _ in range(10)))
            proxy.drop_reply(command, times=5)
            await asyncio.gather(*(emit("work") for _ in range(30)))
            await aeventually(queue.is_empty)
            await aeventually(lambda: worker._parts.settler.backlog == 0)  # type: ignore[union-attr]

    assert set(runs) == {f"work-{n}" for n in range(1, 41)}
    assert queue.stats("completed") == 40
    assert queue.letters() == []


async def test_connections_that_break_all_the_time_lose_nothing(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    queue = QueueView(redis)
    ran: set[str] = set()

    async def work(job: Job[None]) -> None:
        await asyncio.sleep(0.005)
        ran.add(job.id)

    with FaultProxy(server.port) as proxy:
        async with (
            emitting(proxy.url) as emit,
            working(proxy.url, {"work": work}, concurrency=4, lease=SHORT_LEASE),
        ):
            for _ in range(10):
                emits = [emit("work") for _ in range(20)]
                # In the middle of things, wherever that is.
                await asyncio.sleep(0.02)
                proxy.reset_all()
                await asyncio.gather(*emits)
            await aeventually(queue.is_empty)

    assert len(ran) == 200
    assert queue.stats("emitted") == 200
    assert queue.stats("completed") == 200


@pytest.mark.parametrize("end", ["kill", "restart"])
async def test_a_redis_that_starts_again_only_delays(server: RedisServer, end: str) -> None:
    ran: set[str] = set()

    async def work(job: Job[None]) -> None:
        await asyncio.sleep(0.01)
        ran.add(job.id)

    persistent = RedisServer(server.binary, appendonly="yes", appendfsync="always").start()
    try:
        async with (
            emitting(persistent.url, emit_timeout=PATIENCE) as emit,
            working(persistent.url, {"work": work}, concurrency=4, lease=SHORT_LEASE),
        ):
            await asyncio.gather(*(emit("work", priority=n % 3) for n in range(100)))
            await aeventually(lambda: len(ran) > 20)
            if end == "kill":
                persistent.kill()
            late = [emit("work", priority=n % 3) for n in range(50)]
            await asyncio.to_thread(persistent.restart)
            await asyncio.gather(*late)
            with persistent.client() as client:
                queue = QueueView(client)
                await aeventually(queue.is_empty)
                assert len(ran) == 150
                assert queue.stats("completed") == 150
                assert queue.letters() == []
    finally:
        persistent.stop()


async def test_a_worker_whose_redis_did_not_answer_for_longer_than_the_lease_goes_on(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    queue = QueueView(redis)
    runs: list[str] = []

    async def work(job: Job[None]) -> None:
        runs.append(job.id)
        await asyncio.sleep(0.2)

    async with (
        emitting(server.url, emit_timeout=PATIENCE) as emit,
        working(server.url, {"work": work}, concurrency=2, lease=SHORT_LEASE) as worker,
    ):
        await asyncio.gather(*(emit("work") for _ in range(6)))
        await aeventually(lambda: worker.running == 2)
        server.pause()
        # The outage itself.
        await asyncio.sleep(1.5 * SHORT_LEASE)
        server.resume()
        await aeventually(queue.is_empty)

    assert set(runs) == {f"work-{n}" for n in range(1, 7)}
    assert queue.stats("completed") == 6


@pytest.mark.foreign_keys
async def test_an_outage_while_a_foreign_key_is_looked_for_loses_no_outcome(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    queue = QueueView(redis)
    may_end = asyncio.Event()

    async def work(job: Job[None]) -> None:
        await may_end.wait()

    with FaultProxy(server.port) as proxy:
        async with emitting(server.url) as emit, working(proxy.url, {"work": work}) as worker:
            await emit("work")
            await aeventually(lambda: worker.running == 1)
            redis.delete(queue.keys.stats)
            redis.set(queue.keys.stats, "foreign")
            proxy.drop_reply("TYPE")
            may_end.set()
            await aeventually(lambda: proxy.dropped == 1)
            redis.delete(queue.keys.stats)
            await aeventually(lambda: queue.stats("completed") == 1)
