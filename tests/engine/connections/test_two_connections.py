"""Queues in one Redis, results, logs and progress in another (db and streamdb)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis as redis_py

from consumers.connections.connector import Connector
from consumers.jobs.envelope import Envelope
from consumers.jobs.lanes import Lane
from consumers.jobs.outcome import Completed, Released
from consumers.settle.archive import Archive
from consumers.store.delivery import Delivery, Stream
from consumers.store.keys import Keys
from consumers.store.scripts import call
from consumers.store.settling import Settlement
from taskmanager import Job, JobFailed, TaskManager
from tests.support.queue import without_facts
from tests.support.servers import RedisServer
from tests.support.waiting import PATIENCE

KEYS = Keys("default")


@pytest.fixture
def kept(server: RedisServer) -> Iterator[redis_py.Redis]:
    """The other Redis: another database of the same server."""
    with redis_py.Redis.from_url(f"redis://127.0.0.1:{server.port}/1") as client:
        yield client


def url(server: RedisServer, database: int) -> str:
    return f"redis://127.0.0.1:{server.port}/{database}"


def delivery(run: int, count: int) -> Delivery:
    stream = Stream(KEYS, Lane("default"), "workers", front=False)
    return Delivery(
        stream, "1-1", count, Envelope("a", "work", b"{}", b"", 1, run, 0, 0, 0, 0), 0.0
    )


async def test_results_logs_and_progress_are_in_db_and_all_else_in_streamdb(
    server: RedisServer, redis: redis_py.Redis, kept: redis_py.Redis
) -> None:
    tm = TaskManager(db=url(server, 1), streamdb=url(server, 0))

    @tm.registerHandler(event="work")
    async def work(job: Job[dict[str, int]]) -> int:
        await job.logger("half of it")
        await job.progress(1, 2, "half")
        if job.data["n"] < 0:
            raise ValueError("negative")
        return job.data["n"] + 1

    await tm.start()
    good = await tm.emit("work", id="good", data={"n": 41})
    bad = await tm.emit("work", id="bad", data={"n": -1})
    assert await good.result(timeout=PATIENCE) == 42
    with pytest.raises(JobFailed, match="negative"):
        await bad.result(timeout=PATIENCE)
    assert [line.message for line in await good.logs()] == ["half of it"]
    assert (await good.progress()).note == "half"  # type: ignore[union-attr]
    assert await good.status() == "completed"
    assert await bad.status() == "dead"
    await tm.stop()

    for key in (KEYS.result("good"), KEYS.log("good"), KEYS.progress("good")):
        assert kept.exists(key)
        assert kept.pttl(key) > 0
        assert not redis.exists(key)
    assert not kept.exists(KEYS.stats)
    assert all(kept.pttl(key) > 0 for key in kept.scan_iter())
    assert redis.hget(KEYS.stats, "completed") == b"1"


async def test_a_worker_that_lost_its_job_does_not_overwrite_what_its_successor_kept(
    server: RedisServer, kept: redis_py.Redis
) -> None:
    archive = Archive(Connector.from_url(url(server, 1)), consumer="c", result_ttl_ms=60_000)
    older, newer = delivery(run=1, count=1), delivery(run=1, count=2)
    later_run = delivery(run=2, count=1)

    await archive.write([Settlement(newer, Completed(b'"new"')), Settlement(older, Released("x"))])
    await archive.write([Settlement(older, Completed(b'"old"'))])
    assert without_facts(kept.get(KEYS.result("a"))) == b'1 completed "new"'
    await archive.write([Settlement(later_run, Completed(b'"later"'))])
    await archive.write([Settlement(newer, Completed(b'"new"'))])
    assert without_facts(kept.get(KEYS.result("a"))) == b'2 completed "later"'

    note = archive.log(older, 60_000, "late")
    assert await call(archive.wire, note) == 1
    note = archive.log(later_run, 60_000, "fresh")
    assert await call(archive.wire, note) == 1
    note = archive.progress(later_run, 60_000, ["done", 2])
    assert await call(archive.wire, note) == 1
    for late in (
        archive.log(older, 60_000, "zombie"),
        archive.progress(older, 60_000, ["done", 1]),
    ):
        assert await call(archive.wire, late) == 0
    await archive.close()

    assert [line.split(b" ", 1)[1] for line in kept.lrange(KEYS.log("a"), 0, -1)] == [
        b"late",
        b"fresh",
    ]
    assert kept.hget(KEYS.progress("a"), "done") == b"2"


async def test_a_db_that_is_away_holds_up_no_job_for_long(
    server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    archive = Archive(
        Connector.from_url("redis://127.0.0.1:1/0"), consumer="c", result_ttl_ms=1, patience=0.2
    )

    with caplog.at_level("ERROR"):
        await archive.write([Settlement(delivery(run=1, count=1), Completed(b"1"))])
    await archive.close()

    assert archive.dropped == 1
    assert "could not store 1 result(s)" in caplog.text
