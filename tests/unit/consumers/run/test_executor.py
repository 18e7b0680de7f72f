"""The executor without Redis: which handlers it calls at all, and what becomes of the others."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from consumers.connections.clock import ServerClock
from consumers.fetch.admission import Admission
from consumers.fetch.solo import SoloGate
from consumers.jobs.envelope import Envelope
from consumers.jobs.job import FakeJob, Job
from consumers.jobs.lanes import Lane
from consumers.jobs.outcome import Buried, Cancelled, Completed, Released, RetryAt
from consumers.lease.leases import Leases
from consumers.policy import Around, CallNext, Handler
from consumers.run.executor import Executor
from consumers.run.pauses import MOST_STALE, Pauses
from consumers.run.run import Run
from consumers.store.delivery import Delivery, Stream
from consumers.store.keys import Keys
from consumers.store.pause_state import PauseState
from processors.processor import Processor, Registration
from processors.retries.retry import RetryPolicy
from tests.support.waiting import PATIENCE, aeventually

LEASE = 30.0
# Of the lease a tenth is left unused.
EXPIRED = 0.95 * LEASE


class Settled:
    """Stands in for the settler: keeps what it is given."""

    wire: Any = None
    archive: Any = None
    consumer = "me"

    def __init__(self) -> None:
        self.outcomes: list[object] = []

    def settle(
        self, delivery: Delivery, outcome: object, children: object = (), ran: object = None
    ) -> None:
        self.outcomes.append(outcome)


class Stage:
    """One slot, one job and its handler, which runs in a thread or on the loop."""

    def __init__(self, *, in_thread: bool) -> None:
        self.ran: list[int] = []
        self.freed: list[bool] = []
        # What the handler does, by the number of its call.
        self.do: Callable[[int], object] = lambda number: None
        self.around: Around | None = None
        self.retries = 0
        self.timeout: float | None = None
        self.leases, self.pauses = Leases(), Pauses()
        self.leases.seconds["default"] = LEASE
        self.pauses.looked(time.monotonic())
        self._settled = Settled()
        self._handler = Handler.of(self._blocking if in_thread else self._work)
        self.executor: Executor | None = None
        stream = Stream(Keys("default"), Lane("default"), "workers", front=False)
        envelope = Envelope("a", "e", b"{}", b"", 1, 1, 0, 0, 0, 0)
        self.delivery = Delivery(stream, "1-1", 1, envelope, time.monotonic())
        self.leases.all[self.delivery.key] = self.delivery

    async def _work(self, job: Job[Any]) -> object:
        return self._blocking(job)

    def _blocking(self, job: Job[Any]) -> object:
        self.ran.append(job.attempt)
        return self.do(len(self.ran))

    @property
    def outcomes(self) -> list[object]:
        return self._settled.outcomes

    def open(self) -> Executor:
        """Return its executor, made at the first call."""
        if self.executor is None:
            registration = Registration(
                replace(self._handler, around=self.around),
                timeout=self.timeout,
                retry=RetryPolicy(max_retries=self.retries),
            )
            self.executor = Executor(
                Processor({("default", "e"): registration}),
                self._settled,  # type: ignore[arg-type]
                self.leases,
                self.pauses,
                lambda stream: True,
                slots=1,
                max_leaked=1,
                on_free=lambda: self.freed.append(True),
                on_broken=lambda _: None,
            )
        return self.executor

    def start(self) -> None:
        """Let the job begin, or be settled."""
        gate = SoloGate(self._settled.wire, consumer="me", max_deliveries=5)
        notes = FakeJob(None)._notes
        clock = ServerClock()
        Admission(self.open(), gate, notes=notes, epochs={}, clock=clock).start(self.delivery)

    async def run(self) -> None:
        """Run the job to its end."""
        self.start()
        await self.end()

    async def end(self) -> None:
        """Wait for the job's end."""
        await asyncio.wait_for(self.open().drained(), PATIENCE)
        # Whoever was told of a lost lease hears of it on the loop.
        await asyncio.sleep(0)

    def expire(self) -> None:
        self.delivery.renewed_at = time.monotonic() - EXPIRED

    def renew(self) -> None:
        self.delivery.renewed_at = time.monotonic()

    def pause(self, *, whole: bool = True) -> None:
        self.pauses.tell("default", PauseState(self.pauses.of("default").number + 1, whole))


@pytest.fixture(params=[False, True], ids=["async", "thread"])
def stage(request: pytest.FixtureRequest) -> Iterator[Stage]:
    stage = Stage(in_thread=request.param)
    yield stage
    if stage.executor is not None:
        stage.executor.close()


def fail(number: int) -> None:
    raise ValueError(f"call {number} failed")


def refuse(stage: Stage, why: str) -> None:
    """Let happen what a handler may not be called after."""
    if why == "cancelled":
        stage.open().cancel(stage.delivery)
    elif why == "lost":
        stage.open().lose(stage.delivery)
    elif why == "expired":
        stage.expire()
    else:
        stage.pause()


# What becomes of a job whose handler was not called for this.
UNRUN: dict[str, list[object]] = {
    "cancelled": [Cancelled("cancelled")],
    "lost": [],
    "expired": [Released("held")],
    "paused": [Released("paused")],
}


# Before the handler is called


@pytest.mark.parametrize("age", [0.0, 0.8 * LEASE, EXPIRED])
async def test_a_job_whose_lease_ran_out_before_it_began_does_not_run_and_goes_back(
    stage: Stage, age: float, caplog: pytest.LogCaptureFixture
) -> None:
    """A process that stood still (SIGSTOP, chaos seeds 302, 305, 309) ran what it had held.

    It may be ours still: then it need not wait for a sweep, with one crash more.
    """
    stage.delivery.renewed_at -= age

    with caplog.at_level(logging.WARNING):
        await stage.run()

    runs = age < EXPIRED
    assert stage.ran == [1] * runs
    assert stage.outcomes == [Completed() if runs else Released("held")]
    assert stage.freed == [True]
    # Renewed until Redis has answered.
    assert not stage.delivery.given_up
    assert stage.delivery.key in stage.leases
    assert caplog.messages == [
        "job a may have lost its lease before it ran; returning it to the queue"
    ] * (not runs)


@pytest.mark.parametrize("why", UNRUN)
async def test_a_thread_that_begins_late_calls_no_handler_in_vain(why: str) -> None:
    stage, go_on = Stage(in_thread=True), threading.Event()
    executor = stage.open()
    executor.caller.threads.submit(go_on.wait, 10)
    stage.start()
    await aeventually(lambda: executor.caller.threads.busy == 2)

    refuse(stage, why)
    go_on.set()
    await stage.end()

    assert stage.ran == []
    assert stage.outcomes == UNRUN[why]
    executor.close()


@pytest.mark.parametrize("why", UNRUN)
async def test_middleware_that_outlives_a_cancellation_calls_no_handler_in_vain(
    stage: Stage, why: str
) -> None:
    waiting, go_on = asyncio.Event(), asyncio.Event()
    stage.around = outliving(waiting, go_on)
    stage.start()
    await asyncio.wait_for(waiting.wait(), PATIENCE)

    refuse(stage, why)
    go_on.set()
    await stage.end()

    assert stage.ran == []
    assert stage.outcomes == UNRUN[why]


def outliving(waiting: asyncio.Event, go_on: asyncio.Event) -> Around:
    """Return middleware that waits for go_on, whoever cancels it, and calls the handler then."""

    async def around(job: Job[Any], call_next: CallNext) -> Any:
        waiting.set()
        while not go_on.is_set():
            try:
                await go_on.wait()
            except asyncio.CancelledError:
                continue
        return await call_next()

    return around


async def test_a_handler_that_was_not_called_in_time_ends_in_its_timeout(stage: Stage) -> None:
    waiting, go_on = asyncio.Event(), asyncio.Event()
    stage.around, stage.timeout = outliving(waiting, go_on), 0.05
    executor = stage.open()
    stage.start()
    [run] = executor._runs.values()
    await aeventually(lambda: run.timed_out)

    go_on.set()
    await stage.end()

    [outcome] = stage.outcomes
    assert stage.ran == []
    assert isinstance(outcome, Buried)
    assert "JobTimeout" in outcome.error


@pytest.mark.parametrize("paused", [False, True])
async def test_a_handler_that_the_stop_kept_from_being_called_goes_back_as_the_stop_has_it(
    stage: Stage, paused: bool
) -> None:
    """It went back as "held", or as paused, where every other path of a stop says "shutdown"."""
    waiting, go_on = asyncio.Event(), asyncio.Event()
    stage.around = outliving(waiting, go_on)
    executor = stage.open()
    stage.start()
    await asyncio.wait_for(waiting.wait(), PATIENCE)
    stage.pauses.closed = True
    if paused:
        stage.pause()

    releasing = asyncio.create_task(executor.release_all(patience=PATIENCE))
    await aeventually(lambda: all(run.job.cancelled for run in executor._runs.values()))
    go_on.set()
    await asyncio.wait_for(releasing, PATIENCE)

    assert stage.ran == []
    assert stage.outcomes == [Released("shutdown")]


async def test_a_suspect_that_was_lost_before_its_start_is_not_called(stage: Stage) -> None:
    """It can be lost while its solo run is recorded: there is no run to be cancelled yet."""
    stage.open().lose(stage.delivery)

    await stage.run()

    assert stage.ran == stage.outcomes == []
    assert stage.freed == [True]


# Middleware that calls its handler more than once


def calling_twice(
    between: Callable[[], None], *, after: Callable[[], None] = lambda: None
) -> Around:
    """Return middleware that calls the handler, and once more when that raised a ValueError."""

    async def around(job: Job[Any], call_next: CallNext) -> Any:
        try:
            return await call_next()
        except ValueError:
            between()
        try:
            return await call_next()
        finally:
            after()

    return around


def last_error(outcome: RetryAt | Buried) -> str:
    [error] = json.loads(outcome.errors)
    return str(error["error"])


@pytest.mark.parametrize("how", ["paused", "stopping", "stale"])
async def test_a_second_call_begins_nothing_and_goes_on_where_nothing_may_begin(
    stage: Stage, how: str
) -> None:
    """It was refused: an attempt was burnt, and without retries the job was dead."""
    stage.do = lambda number: fail(number) if number == 1 else "done"
    stage.around = calling_twice(lambda: let_begin_nothing(stage, how))

    await stage.run()

    assert stage.ran == [1, 1]
    assert stage.outcomes == [Completed(b'"done"')]


def let_begin_nothing(stage: Stage, how: str) -> None:
    if how == "stopping":
        stage.pauses.closed = True
    elif how == "stale":
        stage.pauses.looked(time.monotonic() - 2 * MOST_STALE)
    else:
        stage.pause()


@pytest.mark.parametrize("retries", [0, 1])
async def test_a_second_call_that_fails_in_a_pause_ends_in_its_own_failure(
    stage: Stage, retries: int
) -> None:
    stage.do, stage.retries = fail, retries
    stage.around = calling_twice(stage.pause)

    await stage.run()

    [outcome] = stage.outcomes
    assert stage.ran == [1, 1]
    assert isinstance(outcome, RetryAt if retries else Buried)
    assert last_error(outcome) == "ValueError: call 2 failed"


async def test_a_second_call_after_the_grace_period_is_refused_and_its_job_goes_back(
    stage: Stage,
) -> None:
    waiting, go_on = asyncio.Event(), asyncio.Event()

    async def around(job: Job[Any], call_next: CallNext) -> Any:
        try:
            return await call_next()
        except ValueError:
            return await outliving(waiting, go_on)(job, call_next)

    stage.do, stage.around = fail, around
    executor = stage.open()
    stage.start()
    await asyncio.wait_for(waiting.wait(), PATIENCE)
    stage.pauses.closed = True

    releasing = asyncio.create_task(executor.release_all(patience=PATIENCE))
    await aeventually(lambda: all(run.job.cancelled for run in executor._runs.values()))
    go_on.set()
    await asyncio.wait_for(releasing, PATIENCE)

    assert stage.ran == [1]
    assert stage.outcomes == [Released("shutdown")]


async def test_a_second_call_after_the_lease_records_nothing(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    stage.do, stage.around = fail, calling_twice(stage.expire)

    with caplog.at_level(logging.WARNING):
        await stage.run()

    assert stage.ran == [1]
    assert stage.outcomes == []
    assert caplog.messages == ["job a ended after its lease; its outcome is not recorded"]
    assert stage.delivery.key not in stage.leases


async def test_a_second_call_whose_lease_was_ours_after_all_burns_no_attempt(
    stage: Stage,
) -> None:
    """It is lost as it is without the late renewal: what it was cut short in says nothing."""
    stage.do = fail
    stage.around = calling_twice(stage.expire, after=stage.renew)

    await stage.run()

    assert stage.ran == [1]
    assert stage.outcomes == []
    assert stage.delivery.key not in stage.leases


@pytest.mark.parametrize("why", ["cancelled", "lost"])
async def test_a_second_call_after_the_end_of_its_run_is_refused(stage: Stage, why: str) -> None:
    stage.do, stage.around = fail, calling_twice(lambda: refuse(stage, why))

    await stage.run()

    assert stage.ran == [1]
    assert stage.outcomes == UNRUN[why]


async def test_a_handler_that_was_called_after_a_refusal_has_run(stage: Stage) -> None:
    async def around(job: Job[Any], call_next: CallNext) -> Any:
        stage.pause()
        try:
            await call_next()
        except BaseException:
            stage.pause(whole=False)
        return await call_next()

    stage.do, stage.around = lambda number: "done", around

    await stage.run()

    assert stage.ran == [1]
    assert stage.outcomes == [Completed(b'"done"')]


async def test_a_refusal_that_middleware_raises_after_a_call_is_a_failure_that_is_retried(
    stage: Stage,
) -> None:
    async def around(job: Job[Any], call_next: CallNext) -> Any:
        stage.pause()
        try:
            await call_next()
        except BaseException as refusal:
            stage.pause(whole=False)
            await call_next()
            raise refusal

    stage.around, stage.retries = around, 1

    await stage.run()

    [outcome] = stage.outcomes
    assert stage.ran == [1]
    assert isinstance(outcome, RetryAt)
    assert "a call of its handler was refused" in last_error(outcome)


# What a run leaves behind


async def swallowing(job: Job[Any], call_next: CallNext) -> Any:
    try:
        return await call_next()
    except ValueError:
        return None


async def retrying(job: Job[Any], call_next: CallNext) -> Any:
    try:
        return await call_next()
    except ValueError:
        return await call_next()


async def passing_on(job: Job[Any], call_next: CallNext) -> Any:
    return await call_next()


@pytest.fixture
def uncollected() -> Iterator[None]:
    """Have nothing collected but what nobody refers to."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("uncollected")
@pytest.mark.parametrize("around", [None, swallowing, retrying, passing_on])
@pytest.mark.parametrize("times", [1, 2])
async def test_a_run_whose_handler_failed_is_gone_without_a_collection(
    stage: Stage, around: Around | None, times: int
) -> None:
    """Its error's traceback led to the run, and the run, or a frame of it, to the error."""
    failures: list[weakref.ref[BaseException]] = []
    stage.do = failing(failures, times)
    stage.around = around

    await stage.run()
    # The thread keeps its last call until the next.
    await stage.open().caller.threads.submit(int)

    assert failures
    await aeventually(lambda: [failure() for failure in failures] == [None] * len(failures))
    await aeventually(lambda: not any(isinstance(it, Run) for it in gc.get_objects()))


def failing(failures: list[weakref.ref[BaseException]], times: int) -> Callable[[int], object]:
    """Return what fails so many times, and remembers its failures weakly."""

    class Failure(ValueError):
        pass

    def do(number: int) -> None:
        if number <= times:
            failure = Failure(f"call {number} failed")
            failures.append(weakref.ref(failure))
            try:
                raise failure
            finally:
                # Its traceback leads here as well.
                del failure

    return do
