"""Rows C1 to C9 of the fault catalogue: what happens on the way between us and Redis."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Iterator
from typing import Any, cast

import pytest
import redis as redis_py

from consumers.connections.connector import Connector
from consumers.connections.hints import Hints
from consumers.connections.wire import Wire
from consumers.jobs.job import Job
from consumers.store.leasing import RECLAIM
from processors.retries.retry import RetryPolicy
from taskmanager import TaskManager
from tests.support.engine import SHORT_LEASE, Emitter, QueueView, emitting, new_job, working
from tests.support.proxy import FaultProxy
from tests.support.scripts import engine_scripts
from tests.support.servers import RedisServer
from tests.support.waiting import aeventually

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def proxy(server: RedisServer, redis: redis_py.Redis) -> Iterator[FaultProxy]:
    """A way to the server that breaks; the scripts are known, so that a call is one EVALSHA."""
    for script in engine_scripts():
        redis.script_load(script.source)
    with FaultProxy(server.port) as proxy:
        yield proxy


# C1 to C4: replies that are lost


async def test_row_c1_g4_an_emit_whose_reply_was_lost_is_answered_as_if_it_was_not(
    proxy: FaultProxy, redis: redis_py.Redis
) -> None:
    """Its own repetition is told that the job is new; who emits it again, that it is not."""
    proxy.drop_reply("EVALSHA")

    async with emitting(proxy.url) as emit:
        first, second = await emit("work", id="a"), await emit("work", id="a")

    assert (first.created, second.created, first.run, second.run) == (True, False, 1, 1)
    assert proxy.dropped == 1
    assert redis.xlen(QueueView(redis).lane()) == 1


@pytest.mark.parametrize("outcome", ["complete", "bury", "retry"])
async def test_row_c2_g4_an_outcome_whose_reply_was_lost_is_recorded_once_and_is_no_failure(
    proxy: FaultProxy, redis: redis_py.Redis, outcome: str
) -> None:
    queue, runs = QueueView(redis), list[int]()

    async def work(job: Job[None]) -> None:
        runs.append(job.attempt)
        job.on_success.append(new_job("nobody", id="child", type="others"))
        if outcome == "bury" or (outcome == "retry" and job.attempt == 1):
            raise ValueError("failed")

    retry = RetryPolicy(max_retries=int(outcome == "retry"), retry_delay_ms=0)
    async with (
        emitting(proxy.url) as emit,
        working(proxy.url, {"work": work}, retry=retry) as worker,
    ):
        proxy.drop_reply("EVALSHA", containing=outcome)
        await emit("work")
        settled = 2 if outcome == "retry" else 1
        await aeventually(lambda: worker.settled == settled)
        assert worker.fenced == 0

    assert proxy.dropped == 1
    assert runs == list(range(1, settled + 1))
    assert (queue.stats("completed"), queue.stats("dead")) == (
        (0, 1) if outcome == "bury" else (1, 0)
    )
    # Each run declared it; of a run that completes it is there once, else never.
    entries = cast("list[Any]", redis.xrange(queue.lane(type="others")))
    assert [fields[b"id"] for _, fields in entries] == [b"child"] * (outcome != "bury")


@pytest.mark.parametrize("lost", ["read", "reclaim"])
async def test_row_c3_g7_an_entry_whose_hand_out_was_lost_on_the_way_runs_once(
    server: RedisServer, proxy: FaultProxy, redis: redis_py.Redis, lost: str
) -> None:
    queue, ran = QueueView(redis), list[tuple[str, int]]()

    async def work(job: Job[None]) -> None:
        ran.append((job.id, job.attempt))

    async with emitting(server.url) as emit:
        if lost == "reclaim":
            await emit("work")
            queue.abandon()
            queue.expire()
            proxy.drop_reply("EVALSHA", containing=RECLAIM.sha)
        async with working(proxy.url, {"work": work}, lease=SHORT_LEASE) as worker:
            if lost == "read":
                await aeventually(lambda: worker._parts.fetcher.idle)  # type: ignore[union-attr]
                proxy.drop_reply("XREADGROUP")
                await emit("work")
            await aeventually(lambda: ran)
            await emit("work")
            await aeventually(lambda: len(ran) == 2)

    assert proxy.dropped == 1
    assert ran == [("work-1", 1), ("work-2", 1)]
    assert queue.stats("completed") == 2


async def test_row_c4_g4_a_bulk_emit_of_which_a_reply_was_lost_adds_each_job_once(
    proxy: FaultProxy, redis: redis_py.Redis
) -> None:
    jobs = 1200
    # Of the second of three batches, twice.
    proxy.drop_reply("EVALSHA", times=2, containing="job-700")

    async with TaskManager(proxy.url) as tm:
        handles = await tm.emit_many([{"event": "work", "id": f"job-{n}"} for n in range(jobs)])

    queue = QueueView(redis)
    assert proxy.dropped == 2
    assert all(handle.created for handle in handles)
    entries = redis.xrange(queue.lane())
    assert [fields[b"id"] for _, fields in entries] == [b"job-%d" % n for n in range(jobs)]  # type: ignore[union-attr]
    assert queue.stats("emitted") == jobs


# C5 to C8: connections that break or are slow


@pytest.mark.parametrize("watchdogs", ["short", "default"])
async def test_row_c5_half_open_connections_are_noticed_and_replaced(
    server: RedisServer,
    proxy: FaultProxy,
    redis: redis_py.Redis,
    monkeypatch: pytest.MonkeyPatch,
    watchdogs: str,
) -> None:
    """By watchdogs of 10 to 12 s, or of 1 s here: nothing waits for the kernel's keepalive.

    With those of 1 s that of the renewer is half-open too. It is there after a third of a
    lease, and a lease must outlast the watchdogs. What is made meanwhile has 5 s to connect.
    """
    lease, connections = 60.0, 3
    if watchdogs == "short":
        lease, connections = 15.0, 4
        monkeypatch.setattr("consumers.fetch.reader.PATIENCE", 1.0)
        monkeypatch.setitem(Wire.__init__.__kwdefaults__, "reply_timeout", 1.0)
        monkeypatch.setitem(Hints.__init__.__kwdefaults__, "ping_interval", 0.5)
        monkeypatch.setitem(Hints.__init__.__kwdefaults__, "silence_limit", 1.0)
    queue, runs, may_end = QueueView(redis), Counter[str](), asyncio.Event()

    async def work(job: Job[None]) -> None:
        runs[job.id] += 1
        if job.id == "running":
            await may_end.wait()

    async with (
        emitting(server.url) as emit,
        working(proxy.url, {"work": work}, concurrency=2, lease=lease) as worker,
    ):
        await emit("work", id="running")
        await aeventually(lambda: worker.running == 1 and proxy.open == connections)
        proxy.swallow()
        # With the settle under way, reader, writer, renewer and hints all become half-open.
        may_end.set()
        await aeventually(lambda: proxy.dead == proxy.open >= connections)
        assert worker.running == 0
        proxy.pass_all()
        await emit("work", id="later", priority=5)
        # The kernel's keepalive would take minutes.
        await aeventually(lambda: queue.stats("completed") == 2, within=60.0)
        # Those that were lost are closed on our side too.
        await aeventually(lambda: not proxy.dead, within=60.0)
        assert worker.fenced == 0

    assert runs == {"running": 1, "later": 1}


async def test_row_c6_a_reset_during_every_command_costs_no_job(
    server: RedisServer, proxy: FaultProxy, redis: redis_py.Redis
) -> None:
    """Every command that an emitter and a worker send, before it is executed."""
    queue, other = QueueView(redis), QueueView(redis, "other")
    often = {"EVAL", "EVALSHA", "XREADGROUP", "XPENDING", "TIME", "HMGET", "ZRANGE", "SET", "XDEL"}
    # Every few seconds, or after a loss only.
    seldom = {"PING", "SUBSCRIBE", "CLIENT"}

    async def parent(job: Job[None]) -> None:
        await job.logger("a line")
        job.on_success.append(new_job("child", id=f"child-of-{job.id}", queue="other"))

    async def child(job: Job[None]) -> None:
        pass

    async def work_off(emit: Emitter, names: list[str]) -> None:
        done = other.stats("completed") + len(names) + 1
        await asyncio.gather(*(emit("parent", id=name) for name in names))
        await emit("parent", id=f"{names[0]}-delayed", due="+20")
        await aeventually(lambda: other.stats("completed") == done, within=60.0)

    def all_are_met() -> bool:
        assert not (often | seldom) & set(+proxy.resets)
        return True

    handlers = {("default", "parent"): parent, ("other", "child"): child}
    async with (
        emitting(proxy.url, emit_timeout=60.0) as emit,
        working(proxy.url, handlers, concurrency=4, lease=SHORT_LEASE),
    ):
        await work_off(emit, ["calm"])
        for command in {*proxy.requests, *often, *seldom}:
            proxy.reset_on(command)
        # A script is sent as text when Redis has not got it.
        redis.script_flush()
        await work_off(emit, [f"reset-{n}" for n in range(40)])
        await aeventually(all_are_met, within=60.0)
        proxy.pass_all()
        await work_off(emit, ["afterwards"])

    assert queue.stats("completed") == other.stats("completed") == 45
    assert queue.stats("emitted") == 45
    assert queue.letters() == other.letters() == []


async def test_row_c7_a_second_of_latency_costs_throughput_and_nothing_else(
    proxy: FaultProxy, redis: redis_py.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    """With defaults, half a second each way."""
    queue, runs = QueueView(redis), Counter[str]()

    async def work(job: Job[None]) -> None:
        runs[job.id] += 1

    proxy.latency(1.0)
    async with (
        emitting(proxy.url) as emit,
        working(proxy.url, {"work": work}, concurrency=10) as worker,
    ):
        await asyncio.gather(*(emit("work") for _ in range(20)))
        await aeventually(lambda: queue.stats("completed") == 20, within=60.0)
        await aeventually(lambda: worker.settled == 20)
        # Hints that wake a reader are on their way for as long.
        assert proxy.requests["CLIENT"] < 50
        proxy.pass_all()

    assert set(runs.values()) == {1}
    assert queue.stats("fenced") == 0
    assert caplog.messages == []


async def test_row_c8_large_payloads_on_a_narrow_line_do_not_starve_renewals(
    server: RedisServer, proxy: FaultProxy, redis: redis_py.Redis
) -> None:
    """10 KB a second, so that one payload takes longer than a third of the lease."""
    queue, runs = QueueView(redis), Counter[str]()

    async def slow(job: Job[None]) -> None:
        runs[job.id] += 1
        # Longer than its lease: without renewals it would be lost.
        await asyncio.sleep(8.0)

    async def work(job: Job[str]) -> None:
        runs[job.id] += 1
        assert len(job.data) == 20_000

    async with (
        emitting(server.url) as emit,
        working(proxy.url, {"slow": slow, "work": work}, concurrency=2, lease=6.0) as worker,
    ):
        await emit("slow")
        await aeventually(lambda: worker.running == 1)
        proxy.bandwidth(10_000)
        await asyncio.gather(*(emit("work", "x" * 20_000) for _ in range(3)))
        await aeventually(lambda: queue.stats("completed") == 4, within=60.0)
        await aeventually(lambda: worker.settled == 4)
        proxy.pass_all()
        assert worker.fenced == 0

    assert set(runs.values()) == {1}
    assert queue.stats("fenced") == 0


async def test_row_c8_packets_of_one_byte_are_put_together(
    proxy: FaultProxy, redis: redis_py.Redis
) -> None:
    queue, data = QueueView(redis), [{"n": n, "text": "äöü\r\n$-1" * n} for n in range(20)]
    seen: list[object] = []

    async def work(job: Job[object]) -> None:
        seen.append(job.data)
        await job.logger("a line")

    proxy.slices()
    async with emitting(proxy.url, emit_timeout=60.0) as emit, working(proxy.url, {"work": work}):
        await asyncio.gather(*(emit("work", it) for it in data))
        await aeventually(lambda: queue.stats("completed") == len(data), within=60.0)
        proxy.pass_all()

    assert seen == data


# C9: commands that are given up in the middle


async def test_row_c9_10000_cancelled_commands_never_shift_replies(server: RedisServer) -> None:
    wire, cancelled, in_flight = Wire(Connector.of(server.url), name=None), 0, 0
    await wire.send("PING")
    while cancelled < 10_000:
        sent = {n: wire.send("ECHO", n) for n in range(cancelled, cancelled + 1000)}
        given_up = random.sample(sorted(sent), 500)
        for n in given_up[:250]:
            sent[n].cancel()
        # The next turn of the loop writes them.
        await asyncio.sleep(0)
        in_flight += sum(sent[n].cancel() for n in given_up[250:])

        replies = await asyncio.gather(*sent.values(), return_exceptions=True)
        for n, reply in zip(sent, replies, strict=True):
            assert reply == b"%d" % n or isinstance(reply, asyncio.CancelledError)
        found = {n for n, it in zip(sent, replies, strict=True) if isinstance(it, BaseException)}
        assert found <= set(given_up)
        cancelled += len(found)
    await wire.close()

    assert in_flight > 0


async def test_row_c9_emits_that_were_cancelled_never_answer_for_others(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    """Whether a cancelled one is emitted all the same is open; what the others hear is right."""
    async with emitting(server.url) as emit:
        emits = {f"job-{n}": emit("work", id=f"job-{n}") for n in range(2000)}
        given_up = set(random.sample(sorted(emits), 1000))
        for name in sorted(given_up)[::2]:
            emits[name].cancel()
        await emits[min(emits.keys() - given_up)]
        for name in given_up:
            emits[name].cancel()
        answers = dict(
            zip(emits, await asyncio.gather(*emits.values(), return_exceptions=True), strict=True)
        )

    heard = {name: it for name, it in answers.items() if not isinstance(it, BaseException)}
    assert heard.keys() >= emits.keys() - given_up
    assert all(it.id == name and it.created for name, it in heard.items())
    assert len({it.run for it in heard.values()}) == len(heard)
