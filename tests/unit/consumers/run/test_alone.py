"""Jobs that are processed by themselves, without Redis: as a worker does, up to the outcome."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import pytest

from consumers import process_job
from consumers.errors import InvalidInput
from consumers.jobs.job import Job
from consumers.jobs.outcome import Buried, Cancelled, Completed, Outcome, RetryAt
from consumers.policy import Handler
from processors import Discard, Processor, Registration, Snooze
from tests.support.waiting import PATIENCE

tenant: ContextVar[str] = ContextVar("tenant", default="nobody")


async def outcome_of(
    call: Callable[..., Any], *, timeout: float | None = None, **job: Any
) -> Outcome:
    """Process a job by a handler with one retry; timeout is in seconds."""
    registration = Registration(Handler.of(call), max_retries=1, timeout=timeout)
    policy = Processor({("default", "e"): registration})
    return await asyncio.wait_for(process_job(Job.fake(7, event="e", **job), policy), PATIENCE)


def doubled(job: Job[int]) -> int:
    return 2 * job.data


async def fails(job: Job[int]) -> None:
    raise ValueError("it was no use")


async def snoozes(job: Job[int]) -> None:
    raise Snooze(5)


def gives_up(job: Job[int]) -> None:
    raise Discard("no need")


async def hangs(job: Job[int]) -> None:
    await asyncio.sleep(PATIENCE)


async def test_the_outcome_is_what_the_policy_makes_of_the_handlers_end() -> None:
    assert await outcome_of(doubled) == Completed(b"14")
    first, second = await outcome_of(fails), await outcome_of(fails, attempt=2)
    assert isinstance(first, RetryAt)
    assert (first.delay_ms, first.uses_attempt) == (1000, True)
    assert isinstance(second, Buried)
    assert "it was no use" in second.error
    assert await outcome_of(snoozes) == RetryAt(5000, uses_attempt=False)
    assert await outcome_of(gives_up) == Cancelled("no need")
    assert await outcome_of(doubled, options={"expires_at": 1}) == Cancelled("expired")


async def test_a_run_ends_at_its_timeout() -> None:
    timed_out = await outcome_of(hangs, timeout=0.05)

    assert isinstance(timed_out, RetryAt)
    assert b"ran longer than its timeout of 0.05 s" in timed_out.errors


async def test_a_handler_runs_in_the_context_of_its_caller_and_in_a_thread_when_it_is_plain() -> (
    None
):
    seen: list[tuple[str, bool]] = []
    tenant.set("ada")

    def plain(job: Job[int]) -> None:
        seen.append((tenant.get(), threading.current_thread() is threading.main_thread()))

    assert await outcome_of(plain) == Completed()
    assert seen == [("ada", False)]


async def test_a_caller_that_is_cancelled_cancels_the_run() -> None:
    began, ended = asyncio.Event(), asyncio.Event()

    async def works(job: Job[int]) -> None:
        began.set()
        try:
            await asyncio.sleep(PATIENCE)
        finally:
            ended.set()

    policy = Processor({("default", "e"): Handler.of(works)})
    task = asyncio.create_task(process_job(Job.fake(7, event="e"), policy))
    await began.wait()
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended.is_set()


async def test_a_job_without_a_handler_is_refused_with_the_events_that_have_one() -> None:
    policy = Processor({("default", "e"): Handler.of(doubled)})

    with pytest.raises(InvalidInput, match=r"'f' of queue 'default' has no handler: .* [(]e[)]$"):
        await process_job(Job.fake(7, event="f"), policy)


async def test_nothing_of_it_is_left_behind() -> None:
    before = asyncio.all_tasks()

    await outcome_of(doubled)
    await asyncio.sleep(0)

    assert asyncio.all_tasks() == before
