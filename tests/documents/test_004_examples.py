"""Document 004: its own examples, as they stand but in snake_case, one behind another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

import redis.asyncio as redis_async

from taskmanager import Context, Job, TaskManager
from tests.documents.handlers import recording
from tests.support.facade import run_all
from tests.support.waiting import PATIENCE, aeventually

Init: TypeAlias = Callable[..., TaskManager[Any]]


async def test_272_basic_setup(init: Init, aredis: redis_async.Redis) -> None:
    task_manager = init(
        db=aredis,
        ctx={},
        concurrency=4,
        processor={
            "retry": {
                "maxRetries": 3,
                "retryDelayMs": 1000,
            },
            "debounce": 300,
        },
    )

    async def handler(job: Job[Any], ctx: Context) -> None:
        print("Processing:", job.name, job.data)
        await job.logger("Job started")

        ctx.emit(
            {
                "event": "child-job",
                "data": {"parentId": job.data["id"]},
            }
        )

        await job.logger("Job completed")

    task_manager.register_handler(
        {
            "handler": handler,
            "event": "my-event",
            "queue": "default",
        }
    )
    children = recording(task_manager, "child-job")

    await task_manager.start()
    emitted = await task_manager.emit({"event": "my-event", "data": {"id": "7"}})

    assert await emitted.result(timeout=PATIENCE) is None
    await aeventually(lambda: [job.data for job in children] == [{"parentId": "7"}])
    assert [line.message for line in await emitted.logs()] == ["Job started", "Job completed"]


async def test_272_with_cron(tm: TaskManager) -> None:
    ran: list[str] = []

    async def handler(job: Job[Any], ctx: Context) -> None:
        ran.append(job.name)

    tm.register_handler(
        {
            "handler": handler,
            "event": "daily-report",
            "queue": "scheduler",
            "options": {
                "repeat": {
                    "pattern": "0 0 * * *",
                },
            },
        }
    )
    await tm.start()
    await aeventually(lambda: tm.schedules("scheduler"))

    (schedule,) = await tm.schedules("scheduler")
    midnight = (datetime.now(UTC) + timedelta(days=1)).replace(
        hour=0, minute=0, second=0, microsecond=0
    )
    assert schedule.event == "daily-report"
    # A test that runs over midnight sees the one after it.
    assert schedule.next_fires[0] - midnight in (timedelta(), timedelta(days=-1))
    fired = await tm.schedule("daily-report", "scheduler").run()
    await fired.result(timeout=PATIENCE)
    assert ran == ["daily-report"]


async def test_272_emit_jobs(tm: TaskManager) -> None:
    users, emails = recording(tm, "process-user"), recording(tm, "send-email", queue="emails")

    simple = await tm.emit(
        {
            "event": "process-user",
            "data": {"userId": "123"},
        }
    )
    delayed = await tm.emit(
        {
            "event": "send-email",
            "queue": "emails",
            "data": {"to": "user@example.com"},
            "options": {
                "retryCount": 3,
                "delayUntil": datetime.now() + timedelta(milliseconds=60_000),  # noqa: DTZ005
            },
        }
    )
    await run_all(tm)

    assert await simple.result(timeout=PATIENCE) == {"userId": "123"}
    assert (len(users), emails) == (1, [])
    assert (delayed.queue, await delayed.status()) == ("emails", "delayed")


@dataclass
class Database:
    users: dict[str, dict[str, str]]

    async def get_user(self, user_id: str) -> dict[str, str]:
        return self.users[user_id]


@dataclass
class Cache:
    kept: dict[str, Any] = field(default_factory=dict)

    async def set(self, key: str, value: Any) -> None:
        self.kept[key] = value


async def test_272_using_context(init: Init, aredis: redis_async.Redis) -> None:
    user, my_cache = {"id": "123", "name": "Ada"}, Cache()
    task_manager = init(
        db=aredis,
        ctx={
            "db": Database({"123": user}),
            "cache": my_cache,
            "config": {"locale": "en"},
        },
        concurrency=4,
    )

    async def handler(job: Job[Any], ctx: Context) -> None:
        user = await ctx.db.get_user(job.data["userId"])
        await ctx.cache.set(f"user:{user['id']}", user)

        ctx.emit(
            {
                "event": "notify-user",
                "data": {"userId": user["id"]},
            }
        )

    task_manager.register_handler(
        handler,
        {
            "event": "process-user",
        },
    )
    notified = recording(task_manager, "notify-user")
    await task_manager.emit({"event": "process-user", "data": {"userId": "123"}})
    await task_manager.start()
    await aeventually(lambda: len(notified) == 1)

    assert my_cache.kept == {"user:123": user}
    assert notified[0].data == {"userId": "123"}
