"""Emits and bulk emits through the public API, on a real Redis."""

from __future__ import annotations

import asyncio
import contextlib
import traceback
from collections.abc import Callable

import pytest
import redis as redis_py

from taskmanager import (
    EmitManyError,
    InvalidInput,
    JobHandle,
    NotConfirmedYet,
    QueueFull,
    RedisUnavailable,
    TaskManager,
)
from tests.support.facade import python, waiting
from tests.support.servers import RedisServer
from tests.support.waiting import aeventually


async def test_emit_gives_a_handle_of_the_live_job(tm: TaskManager) -> None:
    first = await tm.emit("a", data={"x": 1, "y": 2})
    again = await tm.emit("a", data={"y": 2, "x": 1})
    other = await tm.emit("a", data={"x": 1, "y": 2}, deduplicate=False)

    assert (first.created, first.queue) == (True, "default")
    assert again == JobHandle(first.id, "default", created=False, run=first.run)
    assert other.created
    assert other.id != first.id


async def test_what_was_not_awaited_is_sent_when_the_manager_is_left(
    tm: TaskManager, redis: redis_py.Redis
) -> None:
    async with tm:
        for n in range(10):
            tm.emit("a", data=n)

    assert waiting(redis) == 10


async def test_an_emission_knows_its_id_at_once_and_may_be_awaited_twice(tm: TaskManager) -> None:
    emission = tm.emit("a", id="7", queue="mail")

    assert (emission.id, emission.queue) == ("7", "mail")
    with pytest.raises(NotConfirmedYet, match="job '7' is not confirmed yet: await"):
        _ = emission.handle
    assert await emission is await emission is emission.handle


async def test_emissions_can_be_gathered(tm: TaskManager) -> None:
    handles = await asyncio.gather(*(tm.emit("a", data=n) for n in range(20)))

    assert len({handle.id for handle in handles}) == 20


async def test_a_wrong_emit_raises_at_the_call(tm: TaskManager, redis: redis_py.Redis) -> None:
    with pytest.raises(
        InvalidInput, match=r"unknown option 'dealy' in emit.*; allowed: event, queue"
    ):
        tm.emit("a", dealy=3)  # type: ignore[call-arg]

    assert redis.dbsize() == 0


async def test_a_failure_that_nobody_awaits_is_logged(
    make: Callable[..., TaskManager], caplog: pytest.LogCaptureFixture
) -> None:
    tm = make(max_queue_depth=1)
    await tm.emit("a", data=1)

    tm.emit("a", data=2)

    await aeventually(lambda: "an emit that was not awaited failed: queue 'default'" in caplog.text)


async def test_a_failure_that_is_awaited_is_raised_and_not_logged(
    make: Callable[..., TaskManager], caplog: pytest.LogCaptureFixture
) -> None:
    tm = make(max_queue_depth=1)
    await tm.emit("a", data=1)

    with pytest.raises(QueueFull):
        await tm.emit("a", data=2)

    assert caplog.text == ""


async def test_who_gives_up_waiting_does_not_take_the_handle_from_others(
    tm: TaskManager, server: RedisServer
) -> None:
    server.pause()
    emission = tm.emit("a")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(emission, 0.05)
    server.resume()

    assert (await emission).created


async def test_a_failure_after_its_only_waiter_gave_up_is_logged(
    make: Callable[..., TaskManager], server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    tm = make(emit_timeout=1)
    server.kill()

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(tm.emit("a"), 0.05)

    await aeventually(lambda: "an emit that was not awaited failed: Redis at" in caplog.text)


@pytest.mark.parametrize("turns", [0, 1, 2, 5])
def test_what_a_loop_that_ends_takes_with_it_is_one_line_in_the_log(
    server: RedisServer, turns: int
) -> None:
    # The server answers nothing, so it is not a matter of luck who is first.
    server.pause()
    done = python(
        f"""
import asyncio, sys
from taskmanager import TaskManager
tm = TaskManager(sys.argv[1])

async def main():
    tm.emit("a")
    for _ in range({turns}):
        await asyncio.sleep(0)

asyncio.run(main())
""",
        server,
    )

    assert done.returncode == 0
    assert done.stderr.count("\n") == 1
    assert "an emit that was not awaited failed" in done.stderr
    assert "the event loop ended first; await every emit, or call stop()" in done.stderr


async def test_emitting_goes_on_after_somebody_cancelled_every_task(tm: TaskManager) -> None:
    first = tm.emit("a", data=1)
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()
    await asyncio.sleep(0)

    assert (await tm.emit("a", data=2)).created
    assert (await first).created


async def test_emit_says_when_redis_is_away(
    make: Callable[..., TaskManager], server: RedisServer
) -> None:
    tm = make(emit_timeout=0.2)
    server.kill()

    with pytest.raises(RedisUnavailable) as caught:
        await tm.emit("a")

    assert caught.value.outcome == "not_sent"


async def test_emit_many_returns_the_handles_in_order(tm: TaskManager) -> None:
    handles = await tm.emit_many(
        [
            {"event": "a", "id": "1"},
            {"event": "b", "queue": "mail", "id": "2"},
            {"event": "a", "id": "1"},
        ]
    )

    assert [(it.id, it.queue, it.created) for it in handles] == [
        ("1", "default", True),
        ("2", "mail", True),
        ("1", "default", False),
    ]
    assert await tm.emit_many([]) == []


async def test_emit_many_sends_nothing_when_one_item_is_wrong(
    tm: TaskManager, redis: redis_py.Redis
) -> None:
    with pytest.raises(InvalidInput, match="priority 500 is not allowed") as caught:
        await tm.emit_many([{"event": "a"}, {"event": "a", "data": 1, "priority": 500}])

    assert "item 1" in caught.value.__notes__[0]
    assert redis.dbsize() == 0


async def test_emit_many_reports_each_failure_of_sending(make: Callable[..., TaskManager]) -> None:
    tm = make(max_queue_depth=2)

    with pytest.raises(
        EmitManyError, match="2 of 4 jobs were not confirmed, the first is item 2"
    ) as caught:
        await tm.emit_many([{"event": "a", "data": n} for n in range(4)])

    assert [handle is None for handle in caught.value.handles] == [False, False, True, True]
    assert {n: type(error) for n, error in caught.value.errors.items()} == {
        2: QueueFull,
        3: QueueFull,
    }


async def test_emit_many_counts_failures_from_its_first_item_across_queues_and_chunks(
    make: Callable[..., TaskManager],
) -> None:
    tm = make(max_queue_depth=5_005)
    # More than are handed over at a time, to two queues in turn.
    items = [{"event": "a", "queue": f"q{n % 2}", "data": n} for n in range(10_014)]

    with pytest.raises(EmitManyError, match="the first is item 10010") as caught:
        await tm.emit_many(items)

    assert list(caught.value.errors) == [10_010, 10_011, 10_012, 10_013]
    missing = [at for at, handle in enumerate(caught.value.handles) if handle is None]
    assert missing == list(caught.value.errors)
    assert all(
        handle is None or handle.queue == item["queue"]
        for handle, item in zip(caught.value.handles, items, strict=True)
    )


async def test_a_failed_emit_that_is_awaited_again_says_the_same() -> None:
    tm = TaskManager("redis://127.0.0.1:1/0", emit_timeout=0.1)
    frames = []
    async with contextlib.AsyncExitStack() as undo:
        undo.push_async_callback(tm.stop)
        emission = tm.emit("work")
        for _ in range(4):
            with pytest.raises(RedisUnavailable) as caught:
                await emission
            frames.append(len(traceback.extract_tb(caught.value.__traceback__)))

    assert frames[1] == frames[2] == frames[3]
