"""Document 004: TaskManager over Processor over Consumer over Redis Streams, each by itself."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import redis as redis_py

from consumers import (
    Buried,
    Completed,
    Connector,
    Consumer,
    Handler,
    Lane,
    NewJob,
    Outcome,
    Producer,
    Raised,
    Returned,
    ensure_consumer_group,
    process_job,
)
from consumers.store.settling import Settled
from processors import Processor, RetryPolicy
from taskmanager import Job, TaskManager
from tests.documents.handlers import failing, recording
from tests.support.engine import QueueView
from tests.support.servers import RedisServer
from tests.support.waiting import aeventually


class Plain:
    """A policy that is none of ours: one event, no retries."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler

    def events(self, queue: str) -> frozenset[str]:
        return frozenset({"work"})

    def handler(self, queue: str, event: str) -> Handler | None:
        return self._handler if event == "work" else None

    def prepare(self, job: Job[Any], now_ms: Callable[[], int]) -> Outcome | None:
        return None

    def decide(self, job: Job[Any], ended: Returned | Raised) -> Outcome:
        return Buried("failed", str(ended.error)) if isinstance(ended, Raised) else Completed(b"1")


class Heard:
    """Takes down the outcomes that a consumer tells."""

    def __init__(self) -> None:
        self.outcomes: list[str] = []

    def settled_many(self, settled: Sequence[Settled]) -> None:
        self.outcomes += [type(it.settlement.outcome).__name__ for it in settled if it.recorded]


@asynccontextmanager
async def running(url: str, policy: Any, *events: str) -> AsyncIterator[Heard]:
    """Run a consumer on its own, and emit jobs of some events with a producer on its own."""
    heard = Heard()
    consumer, producer = Consumer(url, policy=policy, telemetry=heard), Producer(Connector.of(url))
    await consumer.start()
    try:
        for n, event in enumerate(events):
            await producer.emit(NewJob(f"{event}-{n}", event, b"7", Lane("default")))
        yield heard
    finally:
        await consumer.stop(timeout=0)
        await producer.close()


async def test_270_a_consumer_fetches_processes_and_acknowledges_by_any_policy(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    queue, ran = QueueView(redis), []

    async def work(job: Job[int]) -> None:
        ran.append(job.data)
        if len(ran) == 2:
            raise ValueError("no more")

    stream = await ensure_consumer_group(server.url)
    assert [group["name"] for group in redis.xinfo_groups(stream)] == [b"workers"]
    async with running(server.url, Plain(Handler.of(work)), "work", "work") as heard:
        await aeventually(lambda: len(heard.outcomes) == 2)

    assert ran == [7, 7]
    assert heard.outcomes == ["Completed", "Buried"]
    assert (queue.pending(), redis.xlen(stream), len(queue.letters())) == ([], 0, 1)


async def test_270_a_processor_is_a_policy_without_a_task_manager(server: RedisServer) -> None:
    attempts: list[int] = []

    def fail_once(job: Job[int]) -> str:
        attempts.append(job.attempt)
        if job.attempt == 1:
            raise ValueError("not yet")
        return "done"

    processor = Processor(
        {("default", "work"): Handler.of(fail_once)},
        retry=RetryPolicy(max_retries=1, retry_delay_ms=1),
    )
    assert await process_job(Job.fake(7, event="work", attempt=2), processor) == Completed(
        b'"done"'
    )
    async with running(server.url, processor, "work") as heard:
        await aeventually(lambda: heard.outcomes == ["RetryAt", "Completed"])

    assert attempts == [2, 1, 2]


async def test_270_a_task_managers_processor_runs_in_a_consumer_of_its_own(
    server: RedisServer,
) -> None:
    """create_unified_processor is one policy over all handlers: options, middleware, context."""
    tm = TaskManager(ctx={"greeting": "hello"}, processor={"retry": {"maxRetries": 2}})
    ran = recording(tm, "work")
    failing(tm, "fail", max_retries=0)
    seen: list[str] = []

    @tm.middleware
    async def watch(job: Job[Any], ctx: Any, call_next: Callable[[], Any]) -> Any:
        seen.append(f"{ctx.greeting}, {job.name}")
        return await call_next()

    policy = tm.create_unified_processor()
    assert policy.events("default") == {"work", "fail"}
    assert isinstance(await process_job(Job.fake(1, event="fail"), policy), Buried)
    async with running(server.url, policy, "work", "fail") as heard:
        await aeventually(lambda: len(heard.outcomes) == 2)

    assert sorted(heard.outcomes) == ["Buried", "Completed"]
    assert [job.data for job in ran] == [7]
    assert sorted(seen) == ["hello, fail", "hello, fail", "hello, work"]
