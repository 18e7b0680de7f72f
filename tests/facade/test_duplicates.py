"""Emits that add nothing because their id is live: what is said of them, on a real Redis."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from consumers.admin.facts import Facts
from consumers.admin.inspector import Inspector
from taskmanager import TaskManager
from tests.support.servers import RedisServer
from tests.support.waiting import aeventually, eventually

LOGGER = "taskmanager.emit"


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The ids of jobs that were looked at, in order."""
    seen: list[str] = []
    job = Inspector.job

    async def seeing(self: Inspector, job_id: str, **options: Any) -> Facts:
        seen.append(job_id)
        return await job(self, job_id, **options)

    monkeypatch.setattr(Inspector, "job", seeing)
    return seen


async def test_an_emit_that_asks_for_something_else_is_a_warning(
    tm: TaskManager, caplog: pytest.LogCaptureFixture
) -> None:
    first = await tm.emit("remind", data={"user": 1}, delay=3600)
    again = await tm.emit("remind", data={"user": 1}, delay=1, timeout=5)

    await aeventually(lambda: caplog.messages)

    assert (again.id, again.created) == (first.id, False)
    assert [(it.name, it.levelname) for it in caplog.records] == [(LOGGER, "WARNING")]
    assert caplog.messages == [
        f"an emit of event 'remind' to queue 'default' added nothing: live job {first.id} has "
        "the same id, but differs: delay 1 h instead of 1 s, timeout none instead of 5 s. To add a "
        "second job, use deduplicate=False or another id"
    ]


async def test_many_are_compared_one_by_one_and_the_others_counted(
    tm: TaskManager, looks: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    async with tm:
        await tm.emit("mail", id="a")
        await tm.emit_many([{"event": "mail", "id": "a"}] * 50)
        for priority in (1, 2, 2, 2):
            tm.emit("mail", id="a", priority=priority)

    # Leaving waits for no turn, and nobody had to await them.
    assert looks == ["a"] * 3
    first, second = [it.partition("differs: ")[2] for it in caplog.messages]
    # Of a batch the higher priority is answered first.
    assert first == (
        "priority 0 instead of 2. To add a second job, use deduplicate=False or another id; 51 "
        "more emits added nothing and were not compared"
    )
    assert second.startswith("priority 0 instead of 1. ")
    assert second.endswith(" or another id")


async def test_who_has_no_duplicates_pays_nothing(
    tm: TaskManager, looks: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    async with tm:
        await tm.emit_many([{"event": "mail", "data": n, "priority": n % 3} for n in range(100)])
        for n in range(3):
            await tm.emit("charge", data=n, delay=n, idempotency_key="order")
            await tm.emit("index", data=n, priority=n, debounce_seconds=60, debounce_key="article")

    assert looks == []
    assert caplog.messages == []


async def test_what_cannot_be_looked_at_is_no_matter(
    tm: TaskManager, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    looking = asyncio.Event()

    async def failing(self: Inspector, job_id: str) -> Facts:
        looking.set()
        raise ConnectionError("Redis is away")

    monkeypatch.setattr(Inspector, "job", failing)
    async with tm:
        await tm.emit("mail", id="a")
        handle = await tm.emit("mail", id="a", priority=5)
        await looking.wait()

    assert handle.created is False
    assert caplog.messages == []


def test_a_thread_without_an_event_loop_is_told_as_well(
    server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    tm = TaskManager(server.url)

    for expires in (None, 60):
        tm.emit_sync("mail", id="a", expires=expires)

    eventually(lambda: "expires none instead of 60 s" in caplog.text)
