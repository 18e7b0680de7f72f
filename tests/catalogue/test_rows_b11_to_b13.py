"""Rows B11 to B13 of the fault catalogue: Redis stalls, cannot save, lost the end of its file."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import cast

import pytest
import redis as redis_py

from consumers.errors import RedisUnavailable
from consumers.jobs.job import Job
from tests.catalogue.own_servers import Start, calls, facts
from tests.support.engine import SHORT_LEASE, QueueView, consumer_of, emitting, new_job, working
from tests.support.queue import Queue
from tests.support.servers import RedisServer
from tests.support.waiting import aeventually, eventually

pytestmark = pytest.mark.timeout(300)


def stall_by_sleep(own: RedisServer, seconds: float) -> None:
    """Keep the server from doing anything."""
    with own.client() as client:
        client.execute_command("DEBUG", "SLEEP", seconds)


def stall_by_script(own: RedisServer, seconds: float) -> None:
    """Let the server answer BUSY to everything."""
    with own.client() as busy, own.client() as killer:
        thread = threading.Thread(target=lambda: _endless(busy))
        thread.start()
        time.sleep(seconds)
        killer.script_kill()
        thread.join()


def _endless(client: redis_py.Redis) -> None:
    with contextlib.suppress(redis_py.ResponseError):
        client.eval("while true do end", 0)


@pytest.mark.parametrize("stall", [stall_by_sleep, stall_by_script])
async def test_row_b11_a_redis_that_stalls_for_less_than_the_lease_costs_no_lease(
    start: Start, caplog: pytest.LogCaptureFixture, stall: Callable[[RedisServer, float], None]
) -> None:
    own, ran, may_end = start_with_debug(start), Counter[str](), asyncio.Event()

    async def work(job: Job[None]) -> None:
        ran[job.id] += 1
        if job.id == "slow":
            await may_end.wait()

    async with (
        emitting(own.url, emit_timeout=60.0) as emit,
        # Without a free slot it looks at its queues all the same.
        working(own.url, {"work": work}, lease=30.0) as worker,
    ):
        await emit("work", id="slow")
        await aeventually(lambda: worker.running == 1)
        stalling = asyncio.create_task(asyncio.to_thread(stall, own, 3.0))
        await asyncio.sleep(0.5)
        late = [emit("work") for _ in range(10)]
        await stalling
        await asyncio.gather(*late)
        may_end.set()
        await aeventually(lambda: worker.settled == 11)
        assert worker.fenced == 0

    assert set(ran.values()) == {1}
    assert "Traceback" not in caplog.text
    # Each part says once what it waits for.
    assert len(caplog.messages) < 6, caplog.messages


def start_with_debug(start: Start) -> RedisServer:
    """Start a server that takes DEBUG, and that calls a script slow after 0.1 s."""
    plain = start(lua_time_limit="100")
    if plain.version < (7,):
        return plain
    return start(lua_time_limit="100", enable_debug_command="local")


async def test_row_b12_a_redis_that_cannot_save_takes_nothing_until_it_can(
    server: RedisServer, redis: redis_py.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    queue, ran, may_end = Queue(redis), list[tuple[str, int]](), asyncio.Event()

    async def work(job: Job[None]) -> None:
        ran.append((job.id, job.delivery))
        await may_end.wait()

    async with (
        emitting(server.url, emit_timeout=3.0) as emit,
        working(server.url, {"work": work}) as worker,
    ):
        await emit("work")
        await aeventually(lambda: worker.running == 1)
        with unable_to_save(server, redis):
            before = queue.writes()
            with pytest.raises(RedisUnavailable, match="MISCONF") as refused:
                await emit("work", id="refused")
            assert refused.value.outcome == "not_sent"
            assert queue.writes() == before
            may_end.set()
            await aeventually(lambda: worker.running == 0)
            redis.config_resetstat()
            # What is measured is a time in which nothing can be done.
            await asyncio.sleep(2.0)
            assert calls(redis, "eval", "evalsha", "xreadgroup") < 40
            starting = consumer_of(server.url, {("new", "work"): work}, name="second")
            started = asyncio.create_task(starting.start())
            await aeventually(lambda: connected(redis, "second"))
        await asyncio.wait_for(started, 30.0)
        await starting.stop()
        await aeventually(lambda: worker.settled == 1)
        await emit("work")
        await aeventually(lambda: worker.settled == 2)

    assert ran == [("work-1", 1), ("work-2", 1)]
    assert "Traceback" not in caplog.text
    assert len(caplog.messages) < 10, caplog.messages


@contextlib.contextmanager
def unable_to_save(server: RedisServer, redis: redis_py.Redis) -> Iterator[None]:
    """Let saving fail, so that Redis refuses every write; afterwards it need not save."""
    in_the_way = server.directory / str(redis.config_get("dbfilename")["dbfilename"])
    in_the_way.unlink(missing_ok=True)
    in_the_way.mkdir()
    redis.config_set("save", "3600 1")
    try:
        redis.bgsave()
        eventually(lambda: facts(redis, "persistence")["rdb_last_bgsave_status"] == "err")
        yield
    finally:
        in_the_way.rmdir()
        redis.config_set("save", "")


def connected(redis: redis_py.Redis, name: str) -> bool:
    """Whether a worker has a connection."""
    clients = cast("list[dict[str, str]]", redis.client_list())
    return any(it["name"].startswith(f"writer-{name}.") for it in clients)


@pytest.mark.parametrize("missing", [1, 40, 200, 900])
async def test_row_b13_a_file_with_a_truncated_tail_leaves_no_job_half_done(
    start: Start, missing: int
) -> None:
    """Cut within what a script wrote: all of that is gone or none.

    Before the next restart the file should be rewritten: Redis 6.2 and 7.0 leave half a
    transaction in it, and that one is then carried out.
    """
    own, ran = start(appendonly="yes", appendfsync="always"), Counter[str]()

    async def parent(job: Job[None]) -> None:
        ran[job.id] += 1
        job.on_success.append(new_job("child", id=f"child-of-{job.id}"))

    async def child(job: Job[None]) -> None:
        ran[job.id] += 1

    handlers, ids = {"parent": parent, "child": child}, [f"parent-{n}" for n in range(1, 31)]
    async with (
        emitting(own.url) as emit,
        working(own.url, handlers, concurrency=4, lease=SHORT_LEASE),
    ):
        await asyncio.gather(*(emit("parent") for _ in ids))
        await aeventually(lambda: ran[ids[9]])
        own.kill()
    cut_off(own, missing)
    own.start()

    assert "aof-load-truncated" in own.log()
    with own.client() as client:
        queue = QueueView(client)
        queue.expire()
        async with working(own.url, handlers, concurrency=4, lease=SHORT_LEASE):
            await aeventually(queue.is_empty)
        assert all(ran[it] and ran[f"child-of-{it}"] for it in ids)
        assert queue.stats("completed") == queue.stats("emitted") == 2 * len(ids)
        assert not list(client.scan_iter(f"{queue.keys.base}live:*"))
        assert queue.letters() == []


def cut_off(own: RedisServer, size: int) -> None:
    """Take the last bytes off the append-only file, as a crash in the middle of a write does."""
    [file] = [it for it in own.directory.rglob("*.aof") if ".base." not in it.name]
    with file.open("r+b") as aof:
        aof.truncate(file.stat().st_size - size)
