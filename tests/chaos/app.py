"""The workers of a run: a handler for each kind of job, which writes down what it does."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator
from typing import Any

from consumers.outcome import Buried, Cancelled, Completed, Outcome, Released, RetryAt
from consumers.transitions import Settlement
from taskmanager import Context, Discard, Job, Retry, Snooze, TaskManager
from tests.chaos import mutants
from tests.chaos.setting import Setting
from tests.chaos.workload import EVERY_SECOND, KINDS, LINE, NAP, OTHER, WORK, children_of
from tests.support.oracle import Recorder

_setting = Setting.of_process()
recorder = Recorder(_setting.records, _setting.name)
mutants.become(_setting.mutant)
recorder.note("up")

VERDICTS: dict[type[Outcome], str] = {
    Completed: "completed",
    Buried: "dead",
    Cancelled: "cancelled",
    RetryAt: "retried",
    Released: "released",
}


class Verdicts:
    """Writes down what became of each outcome, as the engine was told by Redis."""

    def settled(self, settlement: Settlement, recorded: bool) -> None:
        """Note a verdict: the outcome's word, or that it was fenced."""
        delivery, verdict = settlement.delivery, VERDICTS[type(settlement.outcome)]
        envelope = delivery.envelope
        recorder.note(
            verdict if recorded else "fenced",
            job=envelope.id, queue=delivery.stream.lane.queue, event=envelope.event,
            generation=envelope.generation, delivery=envelope.deliveries + delivery.count,
            detail=getattr(settlement.outcome, "reason", "") if recorded else verdict,
        )  # fmt: skip


tm: TaskManager[Any] = TaskManager(telemetry=Verdicts())


def note(what: str, job: Job[Any], **fields: Any) -> None:
    """Write down something about a run."""
    recorder.note(
        what, job=job.id, queue=job.queue, event=job.event, generation=job.generation,
        delivery=job.delivery, attempt=job.attempt, priority=job.priority, **fields,
    )  # fmt: skip


@contextlib.contextmanager
def running(job: Job[Any]) -> Iterator[dict[str, Any]]:
    """Note start, effect and end of a run; yields the result, which tells whose run it was."""
    data = job.data if isinstance(job.data, dict) else {}
    note("start", job, detail=data.get("emit", ""))
    try:
        yield {"who": recorder.who, "delivery": job.delivery}
        note("effect", job)
    except BaseException as error:
        note("raised", job, detail=type(error).__name__)
        raise
    note("returned", job)


async def emit_children(job: Job[Any], ctx: Context[Any]) -> None:
    for queue, child in children_of(job.id, job.data):
        note("child", job, detail=child, on=queue)
        await ctx.emit("child", id=child, queue=queue, on_success=True)


@tm.registerHandler(event="quick", queue=WORK)
@tm.registerHandler(event="delayed", queue=WORK)
@tm.registerHandler(event="child", queue=WORK)
@tm.registerHandler(event="child", queue=OTHER)
@tm.registerHandler(event="storm", queue=WORK)
@tm.registerHandler(event="keyed", queue=WORK)
@tm.registerHandler(event="tick", queue=WORK, repeat={"pattern": EVERY_SECOND, "missed": "all"})
@tm.registerHandler(event="line", queue=LINE)
async def quick(job: Job[Any]) -> object:
    with running(job) as result:
        await asyncio.sleep(0)
    return result


@tm.registerHandler(event="nap", queue=WORK)
@tm.registerHandler(event="long", queue=WORK)
@tm.registerHandler(event="probe", queue=WORK)
async def nap(job: Job[Any]) -> object:
    with running(job) as result:
        await asyncio.sleep(job.data["seconds"])
    return result


@tm.registerHandler(event="thread", queue=WORK)
def thread(job: Job[Any]) -> object:
    with running(job) as result:
        time.sleep(job.data["seconds"])
    return result


@tm.registerHandler(event="block", queue=WORK)
@tm.registerHandler(event="long-block", queue=WORK)
async def block(job: Job[Any]) -> object:
    """Keep the event loop, as a handler must not."""
    return thread(job)


@tm.registerHandler(event="parent", queue=WORK)
async def parent(job: Job[Any], ctx: Context[Any]) -> object:
    with running(job) as result:
        await asyncio.sleep(0.02)
        await emit_children(job, ctx)
    return result


@tm.registerHandler(event="thread-parent", queue=WORK)
def thread_parent(job: Job[Any], ctx: Context[Any]) -> object:
    with running(job) as result:
        for queue, child in children_of(job.id, job.data):
            note("child", job, detail=child, on=queue)
            ctx.emit("child", id=child, queue=queue, on_success=True)
    return result


def failing(event: str) -> dict[str, int]:
    """Return how often and after how many ms jobs of a kind are run again when they failed."""
    kind = KINDS[event]
    return {"max_retries": kind.retries, "retry_delay_ms": round(kind.retry_delay * 1000)}


@tm.registerHandler(event="flaky", queue=WORK, options=failing("flaky"))
async def flaky(job: Job[Any]) -> object:
    with running(job) as result:
        if job.attempt <= job.data["failures"]:
            raise ValueError(f"attempt {job.attempt}")
    return result


@tm.registerHandler(event="retried", queue=WORK, options=failing("retried"))
async def retried(job: Job[Any]) -> object:
    with running(job) as result:
        if job.attempt == 1:
            raise Retry("once more", delay=0)
    return result


@tm.registerHandler(event="doomed", queue=WORK, options=failing("doomed"))
async def doomed(job: Job[Any]) -> object:
    with running(job):
        raise ValueError(f"attempt {job.attempt}")


@tm.registerHandler(event="bad-result", queue=WORK)
async def bad_result(job: Job[Any]) -> object:
    with running(job):
        return object()


@tm.registerHandler(event="snoozed", queue=WORK)
async def snoozed(job: Job[Any]) -> object:
    with running(job) as result:
        if job.delivery == 1:
            raise Snooze(NAP)
    return result


@tm.registerHandler(event="discarded", queue=WORK)
async def discarded(job: Job[Any]) -> object:
    with running(job):
        raise Discard(KINDS["discarded"].reason)
