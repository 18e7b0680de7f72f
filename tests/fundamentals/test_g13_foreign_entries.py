"""G13: what is no job of ours never stops a worker and never vanishes."""

from __future__ import annotations

from typing import Any

import pytest
import redis as redis_py

from consumers.jobs.envelope import RAW_LIMIT
from consumers.jobs.job import Job
from tests.support.engine import QueueView, emitting, working
from tests.support.servers import RedisServer
from tests.support.waiting import aeventually

_GOOD: dict[str, Any] = {
    "head": "1:7:0:0:0:0", "id": "stranger", "event": "work", "data": "null", "options": "",
}  # fmt: skip
_BINARY = bytes(range(256))


def _with(**changed: Any) -> dict[str, Any]:
    return {**_GOOD, **changed}


# What somebody else may add to a lane, and a part of it that the dead letter shows.
_FOREIGN: dict[str, tuple[dict[Any, Any], bytes]] = {
    "other fields": ({"name": "value"}, b"4:name,5:value,"),
    "empty": ({"": ""}, b"0:,0:,"),
    "binary": ({_BINARY: _BINARY}, b"256:" + _BINARY + b","),
    "10,000 fields": ({f"f{n}": "v" for n in range(10_000)}, b"2:f0,1:v,2:f1,1:v,"),
    "a large value": ({"f": b"x" * 3_000_000}, b"3000000:xxx"),
    "no head": (_with(head=""), b"4:head,0:,"),
    "half a head": (_with(head="1:2:3"), b"1:2:3"),
    "a head of words": (_with(head="a:b:c:d:e:f"), b"a:b:c"),
    "a head with a number that never ends": (_with(head=f"1:{'9' * 5000}:0:0:0:0"), b"9999"),
    "version 0": (_with(head="0:1:0:0:0:0"), b"null"),
    "a negative number": (_with(head="1:-1:0:0:0:0"), b"1:-1:0"),
    "a number as nobody writes it": (_with(head="1:+1_0: 5:0:0:0"), b"+1_0"),
    "an id that is no text": (_with(id=_BINARY), _BINARY),
    "an event that is no text": (_with(event=_BINARY), _BINARY),
    "an event that is no name": (_with(event="no:name"), b"null"),
    "one field more": ({**_GOOD, "more": "1"}, b"4:more"),
    "one field less": ({k: v for k, v in _GOOD.items() if k != "options"}, b"8:stranger"),
    "data that is no JSON": (_with(data="{"), b"{"),
    "data that is no text": (_with(data=_BINARY), _BINARY),
    "no data": (_with(data=""), b""),
    "endless nesting": (_with(data="[" * 50_000), b"[[[["),
    "options that are no JSON": (_with(options="{"), b"null"),
    "options that are no object": (_with(options="[1]"), b"null"),
    "options that hold NaN": (_with(options='{"timeout":NaN}'), b"null"),
    "options that are a text": (_with(options='"max_retries"'), b"null"),
    "a newer version with 10,000 fields": (
        {**_with(head="2:7:0:0:0:0"), **{f"f{n}": "v" for n in range(10_000)}}, b"2:f0",
    ),
    "a newer version without a name": (_with(head="2:7:0:0:0:0", event="no:name"), b"null"),
}  # fmt: skip


@pytest.mark.parametrize("what", _FOREIGN)
async def test_g13_a_foreign_entry_ends_in_the_dead_letters_and_its_neighbours_run(
    server: RedisServer, redis: redis_py.Redis, what: str
) -> None:
    queue = QueueView(redis)
    fields, shown = _FOREIGN[what]
    ran: list[str] = []

    async def work(job: Job[None]) -> None:
        ran.append(job.id)

    async with emitting(server.url) as emit:
        await emit("work")
        redis.xadd(queue.lane(), fields)
        await emit("work")
        async with working(server.url, {"work": work}) as worker:
            await aeventually(lambda: queue.stats("completed") == 2)
            await aeventually(queue.is_empty)
            redis.xadd(queue.lane(), fields)
            await emit("work")
            await aeventually(lambda: queue.stats("completed") == 3)
            await aeventually(queue.is_empty)
            # Nothing is renewed for ever.
            await aeventually(lambda: worker._parts.leases.all == {})  # type: ignore[union-attr]

    assert ran == ["work-1", "work-2", "work-3"]
    letters = queue.letters()
    assert [letter["reason"] for letter in letters] == [b"foreign", b"foreign"]
    assert all(letter["error"] for letter in letters)
    raw = letters[0].get("raw", letters[0].get("data"))
    assert raw is not None
    assert shown in raw
    assert len(raw) <= RAW_LIMIT
    assert queue.stats("dead") == 2


async def test_g13_a_foreign_entry_that_was_left_by_a_dead_worker_is_quarantined_too(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    queue = QueueView(redis)

    async with emitting(server.url) as emit:
        await emit("work")
        queue.abandon()
        redis.xadd(queue.lane(), {"foreign": "entry"})
        queue.abandon(crashes=8)
        redis.xdel(queue.lane(), queue.pending()[0][1])
        queue.expire()
    async with working(server.url, {}):
        await aeventually(lambda: queue.stats("dead") == 1)

    assert [letter["reason"] for letter in queue.letters()] == [b"foreign"]
    assert queue.is_empty()


async def test_g13_many_foreign_entries_do_not_hold_up_the_jobs_behind_them(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    queue = QueueView(redis)
    ran: list[str] = []

    async def work(job: Job[None]) -> None:
        ran.append(job.id)

    async with emitting(server.url) as emit:
        with redis.pipeline(transaction=False) as pipe:
            for n in range(1000):
                pipe.xadd(queue.lane(), {"n": n, "text": "x" * 2000})
            pipe.execute()
        await emit("work")
        async with working(server.url, {"work": work}):
            await aeventually(lambda: ran == ["work-1"])
            await aeventually(lambda: queue.stats("dead") == 1000)


async def test_g13_a_foreign_name_among_the_lanes_stops_nobody(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    queue = QueueView(redis)
    ran: list[str] = []

    async def work(job: Job[None]) -> None:
        ran.append(job.id)

    async with emitting(server.url) as emit:
        for name in ("foreign", "a:b:c", "a:b:0:d", _BINARY):
            redis.zadd(queue.keys.lanes, {name: 0})
        async with working(server.url, {"work": work}) as worker:
            await emit("work", priority=3)
            await aeventually(lambda: ran == ["work-1"])
            await worker._parts.janitor.tidy(queue.keys)  # type: ignore[union-attr]
