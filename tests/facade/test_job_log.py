"""By default a worker logs what its jobs do."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest

from taskmanager import Job, JobFailed, TaskManager
from taskmanager.worker.line_limit import OF_THE_PROCESS
from tests.support.waiting import PATIENCE, aeventually

Make = Callable[..., TaskManager[Any]]


@pytest.fixture(autouse=True)
def _new_second(monkeypatch: pytest.MonkeyPatch) -> None:
    # The lines of a second are the process's: those that other tests wrote are not to count here.
    monkeypatch.setattr(OF_THE_PROCESS, "until", 0.0)


def lines(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [it for it in caplog.records if it.name == "taskmanager.jobs"]


async def test_a_job_that_fails_again_and_again_warns_of_each_retry_and_its_death_is_an_error(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    tm = make()

    @tm.registerHandler(event="flaky", max_retries=2, retry_delay_ms=1)
    async def flaky(job: Job[Any]) -> None:
        raise ValueError(f"attempt {job.attempt}")

    await tm.start()
    handle = await tm.emit("flaky")
    with pytest.raises(JobFailed):
        await handle.result(timeout=PATIENCE)
    await tm.stop()

    said = lines(caplog)
    assert [(it.levelname, vars(it)["attempt"]) for it in said] == [
        ("WARNING", 1), ("WARNING", 2), ("ERROR", 3),
    ]  # fmt: skip
    for number, line in enumerate(said, 1):
        assert line.exc_info is not None
        _, error, trace = line.exc_info
        assert str(error) == f"attempt {number}"
        assert trace is not None
        assert f"ValueError: attempt {number}" in line.getMessage()


async def test_a_run_is_measured_from_the_call_of_its_handler_on(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    tm = make(concurrency=1)

    @tm.registerHandler(event="nap")
    async def nap(job: Job[Any]) -> None:
        await asyncio.sleep(0.2)

    await tm.emit_many({"event": "nap", "data": n} for n in range(2))
    await tm.start()
    await aeventually(lambda: len(lines(caplog)) == 2)
    await tm.stop()

    first, second = lines(caplog)
    for line in (first, second):
        assert line.levelname == "INFO"
        assert vars(line)["took"] >= 0.2
    # The second one waited in its lane while the first one ran.
    assert vars(second)["waited"] >= 0.2


async def test_a_job_whose_time_is_up_says_so(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    tm = make()

    @tm.registerHandler(event="slow", timeout=0.05, max_retries=0)
    async def slow(job: Job[Any]) -> None:
        await asyncio.sleep(PATIENCE)

    await tm.start()
    await tm.emit("slow")
    await aeventually(lambda: lines(caplog))
    await tm.stop()

    (line,) = lines(caplog)
    assert line.levelname == "ERROR"
    assert "JobTimeout" in line.getMessage()


async def test_a_filter_of_the_application_that_raises_keeps_nobody_from_being_told(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    told = list[str]()

    class Heard:
        def settled_many(self, settled: Any) -> None:
            told.extend(it.settlement.delivery.envelope.id for it in settled)

    def broken(record: logging.LogRecord) -> bool:
        raise RuntimeError("filter")

    caplog.set_level(logging.INFO)
    tm = make(telemetry=Heard())

    @tm.registerHandler(event="work")
    async def work(job: Job[Any]) -> None:
        pass

    jobs = logging.getLogger("taskmanager.jobs")
    jobs.addFilter(broken)
    try:
        await tm.start()
        handle = await tm.emit("work")
        await aeventually(lambda: told)
        await tm.stop()
    finally:
        jobs.removeFilter(broken)

    assert told == [handle.id]
    assert f"could not write the log line of job {handle.id} to" in caplog.text
    assert "telemetry failed" not in caplog.text


async def test_a_misspelt_event_is_said_at_the_emit_and_by_the_worker_and_shown_of_the_job(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    tm = make()

    @tm.registerHandler(event="send-email")
    async def send(job: Job[Any]) -> None:
        pass

    await tm.start()
    first = await tm.emit("send-emial", data=1)
    await tm.emit("send-emial", data=2)
    await aeventually(lambda: "this worker has no handler for event 'send-emial'" in caplog.text)
    await aeventually(lambda: is_put_aside(tm, first.id))
    await tm.stop()

    said = [it for it in caplog.records if "did you mean 'send-email'?" in it.getMessage()]
    assert [it.levelname for it in said] == ["WARNING", "WARNING"]


async def is_put_aside(tm: TaskManager[Any], job_id: str) -> bool:
    info = await tm.get_job(job_id)
    return info is not None and "does not handle its event" in (info.reason or "")
