"""What an outage of Redis must not do to jobs and to those who emit."""

from __future__ import annotations

import asyncio
import time
from typing import cast

import pytest
import redis as redis_py

from consumers.connections.connector import Connector
from consumers.connections.wire import NotSent, Wire
from consumers.emit.batches import Emitted
from consumers.errors import RedisUnavailable, TaskManagerError
from consumers.jobs.job import Job
from consumers.store.emitting import EMIT
from consumers.store.fleet import live_events
from consumers.store.keys import Fleet
from consumers.store.scripts import Call, call
from consumers.store.steps import BATCH_ITEMS
from tests.support.engine import QueueView, consumer_of, emitting, new_job, working
from tests.support.proxy import FaultProxy
from tests.support.servers import RedisServer
from tests.support.waiting import PATIENCE, aeventually


async def test_a_lost_connection_is_no_failure_of_a_job_that_logs(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    queue = QueueView(redis)
    may_end = asyncio.Event()

    async def work(job: Job[None]) -> None:
        while not may_end.is_set():
            await job.logger("still here")
            await job.progress(1, 2)

    with FaultProxy(server.port) as proxy:
        async with emitting(server.url) as emit, working(proxy.url, {"work": work}) as worker:
            await emit("work")
            await aeventually(lambda: worker.running == 1)
            for _ in range(3):
                proxy.reset_all()
                written = redis.llen(queue.keys.log("work-1"))
                await aeventually(
                    lambda written=written: redis.llen(queue.keys.log("work-1")) > written
                )
            may_end.set()
            await aeventually(lambda: queue.stats("completed") == 1)

    assert queue.letters() == []


async def test_an_emit_fails_in_time_although_redis_is_silent(server: RedisServer) -> None:
    async with emitting(server.url, emit_timeout=3.0) as emit:
        # It is the emit's own timeout that ends it: the watchdog says nothing.
        emit.producer.wire.reply_timeout = 3600.0
        await emit("work")
        server.pause()
        try:
            with pytest.raises(RedisUnavailable) as caught:
                await asyncio.wait_for(emit("work"), PATIENCE)
        finally:
            server.resume()

    assert caught.value.outcome == "unknown"


async def test_what_was_not_sent_in_time_is_told_why_the_try_before_was_refused() -> None:
    accepted = []

    async def refuse_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.append(writer)
        if len(accepted) == 1:
            writer.write(b"-ERR max number of clients reached\r\n")
            writer.close()

    async with await asyncio.start_server(refuse_once, "127.0.0.1", 0) as listener:
        port = listener.sockets[0].getsockname()[1]
        wire = Wire(Connector.of(f"redis://127.0.0.1:{port}"), name=None)
        with pytest.raises(redis_py.ConnectionError):
            await wire.send("PING")
        with pytest.raises(NotSent, match="no connection in time: max number of clients"):
            await call(wire, Call(EMIT, [], []), until=time.monotonic() + 0.1)
        await wire.close()
        for writer in accepted:
            writer.close()


async def test_emits_told_as_not_sent_are_not_there_when_redis_falls_silent(
    server: RedisServer,
) -> None:
    async with emitting(server.url, emit_timeout=3.0) as emit:
        await emit("work")
        server.pause()
        try:
            emits = [emit("many") for _ in range(2 * BATCH_ITEMS)]
            ends = await asyncio.gather(*emits, return_exceptions=True)
        finally:
            server.resume()
        again = [await emit("many", id=f"many-{at + 1}") for at in range(2 * BATCH_ITEMS)]

    outcomes = [end.outcome for end in ends if isinstance(end, RedisUnavailable)]
    assert len(outcomes) == 2 * BATCH_ITEMS
    assert outcomes[:BATCH_ITEMS] == ["unknown"] * BATCH_ITEMS
    # The second batch is still tried where its time is not up yet.
    told = zip(outcomes, again, strict=True)
    assert all(emitted.created for outcome, emitted in told if outcome == "not_sent")


async def test_a_bulk_is_told_in_its_own_time_when_a_later_one_shares_its_batch(
    server: RedisServer,
) -> None:
    async with emitting(server.url) as emit:
        producer = emit.producer
        await emit("work")
        producer.emit_timeout = 2.0
        server.pause()
        try:
            under_way = emit("work")
            # What waits behind it has so much more time when it is given up.
            await asyncio.sleep(1.0)
            [early] = producer.emit_all([new_job("work", id="early")])
            producer.emit_timeout = PATIENCE
            [late] = producer.emit_all([new_job("work", id="late")])
            told = await early.answers
            assert not late.answers.done()
        finally:
            server.resume()
        [outcome] = await late.answers
        with pytest.raises(RedisUnavailable):
            await under_way

    assert [end.outcome for end in told if isinstance(end, RedisUnavailable)] == ["unknown"]
    assert isinstance(outcome, Emitted)


async def test_what_cannot_be_packed_does_not_undo_what_shares_its_batch(
    server: RedisServer,
) -> None:
    async with emitting(server.url) as emit:
        chunks = emit.producer.emit_all([new_job("work", id="good")])
        chunks += emit.producer.emit_all(
            [new_job("work", id="bad")._replace(options=cast("bytes", object()))]
        )
        single = emit("good")
        [good], [bad] = [await chunk.answers for chunk in chunks]
        emitted = await single

    assert isinstance(good, Emitted)
    assert good.created
    assert emitted.created
    assert isinstance(bad, TaskManagerError)


async def test_many_emits_are_applied_once_and_in_order_while_replies_are_lost(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    with FaultProxy(server.port) as proxy:
        async with emitting(proxy.url, emit_timeout=20.0) as emit:
            await emit("work")
            proxy.drop_reply_of(EMIT, times=3)
            emitted = await asyncio.gather(*[emit("many") for _ in range(5 * BATCH_ITEMS)])
        assert proxy.dropped == 3

    assert all(it.created for it in emitted)
    entries = redis.xrange(QueueView(redis).lane())
    assert [fields[b"id"].decode() for _, fields in entries] == [
        "work-1",
        *(it.id for it in emitted),
    ]


async def test_a_refused_login_is_told_at_once_and_stored_nothing(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    url = server.url.replace("redis://", "redis://nobody:wrong@")

    async with emitting(url, emit_timeout=3600.0) as emit:
        with pytest.raises(RedisUnavailable) as emitted:
            await asyncio.wait_for(emit("work"), PATIENCE)
    with pytest.raises(RedisUnavailable) as started:
        await asyncio.wait_for(consumer_of(url, {}, connect_timeout=3600.0).start(), PATIENCE)

    assert emitted.value.outcome == started.value.outcome == "not_sent"
    assert "wrong" not in str(emitted.value) + str(started.value)


async def test_a_machine_whose_clock_is_fast_does_not_hide_the_others(
    server: RedisServer, redis: redis_py.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(job: Job[None]) -> None:
        pass

    fleet, wire = Fleet(), Wire(Connector.from_url(server.url), name=None)
    async with working(server.url, {"work": work}):
        await aeventually(lambda: redis.zcard(fleet.workers) == 1)
        ahead = time.time() + 90
        monkeypatch.setattr(time, "time", lambda: ahead)
        async with working(server.url, {"other": work}):
            await aeventually(lambda: redis.zcard(fleet.workers) == 2)
            listed = await live_events(wire, fleet, "default")
        await wire.close()

    assert listed == {("workers", "work"), ("workers", "other")}


async def test_a_queue_is_listed_again_when_redis_has_forgotten_it(
    server: RedisServer, redis: redis_py.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("consumers.emit.writer.LIST_AGAIN", 0.0)
    queues = Fleet().queues

    async with emitting(server.url) as emit:
        await emit("work")
        await aeventually(lambda: redis.sismember(queues, "default"), 20.0)
        redis.flushall()
        await emit("work")

        await aeventually(lambda: redis.sismember(queues, "default"), 20.0)
