"""The public API without an event loop, in other loops and in other processes."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import pytest
import redis as redis_py

from taskmanager import (
    EmitManyError,
    InvalidInput,
    LoopIsRunning,
    NoEventLoop,
    QueueFull,
    SyncJobHandle,
    TaskManager,
)
from tests.support.facade import python, result, waiting
from tests.support.servers import RedisServer


async def test_emit_without_a_loop_names_emit_sync(tm: TaskManager) -> None:
    with pytest.raises(NoEventLoop, match=r"call emit_sync\(\.\.\.\)"):
        await asyncio.to_thread(lambda: tm.emit("a"))


async def test_emit_sync_works_in_any_thread(tm: TaskManager, redis: redis_py.Redis) -> None:
    handles: list[SyncJobHandle] = []

    def work(n: int) -> None:
        handles.append(tm.emit_sync("a", data=n))
        handles.extend(tm.sync.emit_many([{"event": "b", "data": n}]))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        await asyncio.to_thread(thread.join)

    assert len({handle.id for handle in handles}) == 16
    assert waiting(redis) == 16


async def test_emit_sync_raises_what_emit_raises(make: Callable[..., TaskManager]) -> None:
    tm = make(max_queue_depth=1)
    await tm.emit("a", data=1)

    with pytest.raises(QueueFull):
        await asyncio.to_thread(tm.emit_sync, "a", data=2)
    with pytest.raises(EmitManyError):
        await asyncio.to_thread(tm.sync.emit_many, [{"event": "a", "data": 2}])
    with pytest.raises(InvalidInput):
        await asyncio.to_thread(tm.emit_sync, "a b")


async def test_blocking_calls_on_a_loop_say_what_to_await(tm: TaskManager) -> None:
    with pytest.raises(LoopIsRunning, match=r"emit_sync would block .* call await emit\(\.\.\.\)"):
        tm.emit_sync("a")
    with pytest.raises(LoopIsRunning, match=r"call await emit\(\.\.\.\)"):
        tm.sync.emit("a")
    with pytest.raises(LoopIsRunning, match=r"call await emit_many\(\.\.\.\)"):
        tm.sync.emit_many([])


async def test_two_event_loops_never_share_a_producer(
    tm: TaskManager, redis: redis_py.Redis
) -> None:
    async def emit_in_another_loop() -> None:
        async with tm:
            await asyncio.gather(*(tm.emit("b", data=n) for n in range(50)))

    await asyncio.gather(
        asyncio.to_thread(asyncio.run, emit_in_another_loop()),
        *(tm.emit("a", data=n) for n in range(50)),
    )

    assert waiting(redis) == 100
    assert len(set(tm._life._clients._clients.values())) == 1


def test_a_forked_child_emits_by_itself(server: RedisServer, redis: redis_py.Redis) -> None:
    done = python(
        """
import os, sys
from taskmanager import TaskManager
tm = TaskManager(sys.argv[1])
print(tm.emit_sync("a", data="parent").created, flush=True)
child = os.fork()
created = [tm.emit_sync("a", data=[n, os.getpid()]).created for n in range(20)]
line = f"{all(created)} {tm.emit_sync('a', data='parent').created}\\n"
os.write(1, line.encode())  # One write, that lines of two processes do not mix.
if child:
    assert os.waitpid(child, 0)[1] == 0
else:
    sys.exit(0)
""",
        server,
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "True\nTrue False\nTrue False\n"
    assert waiting(redis) == 41


def test_a_child_forked_in_a_handler_does_not_act_for_the_job(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    done = python(
        """
import asyncio, os, sys
from taskmanager import TaskManager
tm = TaskManager(sys.argv[1])

@tm.registerHandler(event="forks")
def forks(job):
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1]
    print(tm.emit_sync("a", queue="other", id=job.id).created, flush=True)
    os._exit(0)

async def main():
    await tm.emit("forks", id="f")
    await tm.run(burst=True)

asyncio.run(main())
""",
        server,
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "True\n"
    assert result(redis, "f").endswith(b" 0")
