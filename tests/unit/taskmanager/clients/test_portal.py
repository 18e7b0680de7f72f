"""Threads that wait for work on an event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

from taskmanager import LoopHasEnded, LoopIsRunning
from taskmanager.clients import portal as module
from taskmanager.clients.portal import Portal, refuse_running_loop, wait_on


@pytest.fixture
def portal() -> Iterator[Portal]:
    portal = Portal()
    yield portal
    portal.close()


async def answer() -> int:
    return 42


async def late() -> None:
    raise TimeoutError("the work's own")


def test_all_threads_share_one_loop(portal: Portal) -> None:
    loops: list[asyncio.AbstractEventLoop] = []
    threads = [threading.Thread(target=lambda: loops.append(portal.loop)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(loops) == 8
    assert len(set(loops)) == 1
    assert wait_on(portal.loop, answer()) == 42


def test_an_error_of_the_work_is_raised(portal: Portal) -> None:
    with pytest.raises(TimeoutError, match="the work's own"):
        wait_on(portal.loop, late())


def test_work_may_take_longer_than_one_look(
    portal: Portal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_LOOK_EVERY_S", 0.01)

    assert wait_on(portal.loop, asyncio.sleep(0.05, "slept")) == "slept"


def test_a_loop_that_has_ended_is_an_error() -> None:
    loop = asyncio.new_event_loop()
    loop.close()

    with pytest.raises(LoopHasEnded, match="repeating it with the same id is safe"):
        wait_on(loop, answer())


def test_a_loop_that_ends_meanwhile_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LOOK_EVERY_S", 0.01)
    loop = asyncio.new_event_loop()
    # Runs the work until its first await, then ends.
    ends = threading.Thread(target=loop.run_until_complete, args=(asyncio.sleep(0.05),))
    ends.start()

    try:
        with pytest.raises(LoopHasEnded):
            wait_on(loop, asyncio.sleep(60))
    finally:
        ends.join()
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()


def test_what_is_to_close_is_closed_before_the_loop_ends(portal: Portal) -> None:
    closed: list[asyncio.AbstractEventLoop] = []

    async def close() -> None:
        closed.append(asyncio.get_running_loop())

    loop = portal.loop
    portal.at_close(loop, close)
    portal.close()

    assert closed == [loop]
    assert loop.is_closed()
    assert portal.loop is not loop


async def test_a_blocking_call_on_a_loop_is_refused() -> None:
    with pytest.raises(LoopIsRunning, match=r"shout would block the running event loop: call whis"):
        refuse_running_loop("shout", "whisper()")


@pytest.fixture
def no_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """An interpreter that is about to end."""

    def start_thread(*_: object, **__: object) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    monkeypatch.setattr(module, "start_thread", start_thread)


@pytest.mark.usefixtures("no_threads")
def test_where_no_thread_can_be_started_work_is_done_in_this_one(portal: Portal) -> None:
    ran: list[tuple[str, int, asyncio.AbstractEventLoop]] = []

    async def note(what: str) -> None:
        ran.append((what, threading.get_ident(), asyncio.get_running_loop()))

    async def work() -> str:
        portal.at_close(asyncio.get_running_loop(), lambda: note("closed"))
        await note("worked")
        return "done"

    assert [portal.run(work()), portal.run(work())] == ["done", "done"]

    assert [what for what, _, _ in ran] == ["worked", "closed"] * 2
    assert {thread for _, thread, _ in ran} == {threading.get_ident()}
    # What is opened on one of these loops ends with it.
    assert ran[0][2] is ran[1][2] is not ran[2][2]


@pytest.mark.usefixtures("no_threads")
def test_an_error_of_work_in_this_thread_is_raised(portal: Portal) -> None:
    with pytest.raises(TimeoutError, match="the work's own"):
        portal.run(late())
