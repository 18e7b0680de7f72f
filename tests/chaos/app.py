"""The workers of a run: a handler for each kind of job, which writes down what it does."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextvars import ContextVar
from typing import Any

from consumers.jobs.outcome import Buried, Cancelled, Completed, Outcome, Released, RetryAt
from consumers.store.settling import Settled, Settlement
from taskmanager import Context, DeadLetter, Discard, Job, Retry, Snooze, TaskManager
from tests.chaos import mutants
from tests.chaos.anything import ANYTHING
from tests.chaos.setting import Setting
from tests.chaos.workload import (
    EVERY_SECOND,
    KINDS,
    LINE,
    NAP,
    OTHER,
    SPOILED,
    WORK,
    children_of,
    shares,
)
from tests.support.oracle import Recorder

_setting = Setting.of_process()
recorder = Recorder(_setting.records, _setting.name)
mutants.become(_setting.mutant)
recorder.note("up")
# The runs that are under way in this process.
under_way: set[str] = set()
# Whose run this is: nothing in the run of another job, nor outside of all runs, may see it.
_running: ContextVar[str] = ContextVar("running", default="")
_raised_outside = itertools.cycle(ANYTHING.values())

VERDICTS: dict[type[Outcome], str] = {
    Completed: "completed",
    Buried: "dead",
    Cancelled: "cancelled",
    RetryAt: "retried",
    Released: "released",
}


def look_around(job: str, queue: str) -> None:
    """Write down whose context this is, if it is any run's, where it must be nobody's."""
    if found := _running.get():
        recorder.note("leaked", job=job, queue=queue, detail=found)


class Verdicts:
    """Writes down what became of each outcome, as the engine was told by Redis.

    Of a death it raises then.
    """

    def settled_many(self, settled: Sequence[Settled]) -> None:
        """Note the verdicts: each outcome's word, or that it was fenced."""
        for settlement, recorded in settled:
            self._note(settlement, recorded)
            look_around(settlement.delivery.envelope.id, settlement.delivery.stream.lane.queue)
        if any(isinstance(it.settlement.outcome, Buried) for it in settled):
            raise next(_raised_outside)

    def _note(self, settlement: Settlement, recorded: bool) -> None:
        delivery, verdict = settlement.delivery, VERDICTS[type(settlement.outcome)]
        envelope = delivery.envelope
        recorder.note(
            verdict if recorded else "fenced",
            job=envelope.id, queue=delivery.stream.lane.queue, event=envelope.event,
            generation=envelope.generation, delivery=envelope.deliveries + delivery.count,
            detail=getattr(settlement.outcome, "reason", "") if recorded else verdict,
        )  # fmt: skip


@contextlib.asynccontextmanager
async def lifespan() -> AsyncIterator[None]:
    """Write down an orderly end; one that is cut off does not come so far."""
    yield
    recorder.note("down")


tm: TaskManager[Any] = TaskManager(telemetry=Verdicts(), lifespan=lifespan)


@tm.on_dead
async def told(letter: DeadLetter) -> None:
    """Write down a letter and fail."""
    recorder.note("told", job=letter.id, queue=letter.queue, event=letter.event)
    look_around(letter.id, letter.queue)
    raise next(_raised_outside)


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
    look_around(job.id, job.queue)
    run = f"{job.id} {job.generation}.{job.delivery}"
    _running.set(run)
    under_way.add(run)
    note("start", job, detail=data.get("emit", ""))
    try:
        yield {"who": recorder.who, "delivery": job.delivery}
        note("effect", job)
    except BaseException as error:
        note("raised", job, detail=type(error).__name__)
        raise
    finally:
        under_way.discard(run)
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
@tm.registerHandler(event="spoiled", queue=SPOILED)
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


if any(KINDS[name].raises for name in shares(_setting.kinds)):
    # It needs all of pydantic, which a start must not wait for in vain.
    tm.include("tests.chaos.rude")
