"""What the log says of jobs, and how much of it at most."""

from __future__ import annotations

import logging
import time

import pytest

from consumers.jobs.envelope import Envelope
from consumers.jobs.lanes import Lane
from consumers.jobs.outcome import Buried, Cancelled, Completed, Outcome, Ran, Released, RetryAt
from consumers.jobs.texts import describe
from consumers.store.delivery import Delivery, Stream
from consumers.store.keys import Keys
from consumers.store.settling import Settled, Settlement
from processors.retries.signals import Retry, Snooze
from taskmanager.worker import job_log
from taskmanager.worker.job_log import MOST_LINES, JobLog

# Of Redis' clock, which may be behind or ahead of ours.
ADDED_MS = int(time.time() * 1000) - 60_000
STARTED_MS = ADDED_MS + 51_000


def settled(
    outcome: Outcome,
    *,
    error: BaseException | None = None,
    ran: bool = True,
    recorded: bool = True,
    attempt: int = 1,
) -> Settled:
    lane = Lane("mail", "workers")
    envelope = Envelope("job-1", "greet", b"{}", b"", 1, 1, ADDED_MS, attempt - 1, 0, 0)
    stream = Stream(Keys("mail"), lane, "workers", front=False)
    delivery = Delivery(stream, f"{ADDED_MS}-0", 1, envelope, 0.0)
    delivery.started_ms = STARTED_MS if ran else 0
    how = Ran(time.monotonic() - 0.012, 0.012, attempt, 3, error) if ran else None
    return Settled(Settlement(delivery, outcome, ran=how), recorded)


def job_log_of(handed_on: list[tuple[str, str]] | None = None) -> JobLog:
    return JobLog(lambda *name: handed_on.append(name) if handed_on is not None else None)


@pytest.fixture(autouse=True)
def _says_info(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "taskmanager.jobs")


async def test_a_completed_job_is_a_line_with_what_is_known_of_its_run(
    caplog: pytest.LogCaptureFixture,
) -> None:
    job_log_of().settled_many((settled(Completed(), attempt=2),))

    (line,) = caplog.records
    assert (line.levelname, line.name) == ("INFO", "taskmanager.jobs")
    assert line.getMessage() == "greet completed in 12 ms"
    facts: dict[str, object] = {"job": "job-1", "queue": "mail", "event": "greet"}
    facts |= {"outcome": "completed", "attempt": 2, "took": 0.012}
    assert {name: vars(line)[name] for name in facts} == facts
    assert vars(line)["waited"] > 50.0


async def test_a_job_that_was_added_ahead_of_our_clock_has_waited_for_nothing(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.unit.taskmanager.worker.test_job_log.ADDED_MS", ADDED_MS * 2)

    job_log_of().settled_many((settled(Completed()),))

    assert vars(caplog.records[0])["waited"] == 0.0


async def test_a_retry_is_a_warning_and_a_death_an_error_each_with_the_traceback(
    caplog: pytest.LogCaptureFixture,
) -> None:
    error = ValueError("no such\nuser")
    again, dead = RetryAt(2000, b"[]"), Buried("failed", describe(error))

    job_log_of().settled_many((settled(again, error=error), settled(dead, error=error, attempt=4)))

    retry, death = caplog.records
    assert retry.levelname == "WARNING"
    assert retry.getMessage() == "greet failed and is run again in 2.0 s: ValueError: no such user"
    assert death.levelname == "ERROR"
    assert death.getMessage() == "greet is dead: ValueError: no such user"
    assert (vars(death)["reason"], vars(death)["attempt"]) == ("failed", 4)
    for line in caplog.records:
        assert line.exc_info is not None
        assert line.exc_info[1] is error


async def test_what_was_raised_on_purpose_has_no_traceback_but_that_of_its_cause(
    caplog: pytest.LogCaptureFixture,
) -> None:
    cause, caused = ValueError("busy"), Retry("later")
    caused.__cause__ = cause

    job_log_of().settled_many(
        (
            settled(RetryAt(0, b"[]"), error=Retry("later")),
            settled(RetryAt(0, b"[]"), error=caused),
            settled(RetryAt(5000, uses_attempt=False), error=Snooze(5, "no room yet")),
        )
    )

    plain, with_cause, snoozed = caplog.records
    assert plain.getMessage() == "greet failed and is run again in 0 ms: Retry: later"
    assert plain.exc_info is None
    assert with_cause.exc_info is not None
    assert with_cause.exc_info[1] is cause
    assert snoozed.getMessage() == "greet was put off for 5.0 s after 12 ms: no room yet"


async def test_a_retry_policy_that_raised_is_said_beside_the_error(
    caplog: pytest.LogCaptureFixture,
) -> None:
    error = ValueError("no such user")
    buried = Buried("failed", f"{describe(error)}\nand its retry policy raised KeyError: 'x'")

    job_log_of().settled_many((settled(buried, error=error),))

    assert caplog.messages == [
        "greet is dead: ValueError: no such user; and its retry policy raised KeyError: 'x'"
    ]


async def test_a_bad_payload_is_said_in_the_sentence_of_an_emit(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bad = Buried("bad_payload", "url: Field required\nseconds: Input should be a valid integer")

    job_log_of().settled_many((settled(bad, ran=False),))

    assert caplog.records[0].getMessage() == (
        "greet is dead: the data of 'greet' is not what its handler in queue 'mail' takes: "
        "url: Field required; seconds: Input should be a valid integer"
    )


@pytest.mark.parametrize(
    ("outcome", "sentence"),
    [
        (RetryAt(500, uses_attempt=False), "greet was put off for 500 ms after 12 ms"),
        (Cancelled("not needed"), "greet ended as cancelled after 12 ms: not needed"),
        (Released("shutdown"), "greet was handed back after 12 ms: shutdown"),
    ],
)
async def test_other_ends_of_a_run_are_lines(
    outcome: Outcome, sentence: str, caplog: pytest.LogCaptureFixture
) -> None:
    job_log_of().settled_many((settled(outcome),))

    assert [(it.levelname, it.getMessage()) for it in caplog.records] == [("INFO", sentence)]


async def test_what_did_not_run_or_is_not_ours_says_nothing_but_that_it_was_cancelled(
    caplog: pytest.LogCaptureFixture,
) -> None:
    job_log_of().settled_many(
        (
            settled(Released("paused"), ran=False),
            settled(Completed(), recorded=False),
            settled(Buried("failed"), recorded=False),
            settled(Cancelled("expired"), ran=False),
        )
    )

    assert [it.getMessage() for it in caplog.records] == ["greet ended as cancelled: expired"]


async def test_of_many_lines_some_are_written_and_the_rest_is_counted(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    # However slow the machine is, all of it comes in one window.
    monkeypatch.setattr(job_log, "_WINDOW", 3600.0)
    log, error = job_log_of(), ValueError("x")

    for _ in range(10):
        log.settled_many(
            (
                *[settled(Completed())] * 1000,
                settled(Cancelled("no")),
                settled(RetryAt(0), error=error),
            )
        )
    log.finish()

    lines = [it for it in caplog.records if it.levelname == "INFO"]
    assert len(lines) == MOST_LINES + 1
    assert lines[-1].getMessage() == "9,960 jobs more: 9,950 completed, 10 cancelled"
    # What goes wrong is caplog.records each time.
    assert len(caplog.records) == len(lines) + 10


async def test_the_next_second_has_lines_of_its_own_behind_the_count_of_the_last(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_log, "_WINDOW", 3600.0)
    log = job_log_of()
    log.settled_many([settled(Completed())] * (MOST_LINES + 1))
    log._until = 0.0

    log.settled_many((settled(Completed()),))

    assert [it.getMessage() for it in caplog.records[MOST_LINES:]] == [
        "1 jobs more: 1 completed", "greet completed in 12 ms",
    ]  # fmt: skip


async def test_where_nobody_reads_info_nothing_is_counted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING, "taskmanager.jobs")
    log = job_log_of()

    log.settled_many([settled(Completed())] * 100)
    log.finish()

    assert caplog.records == []


async def test_a_job_without_a_handler_here_is_told_of_and_is_no_end_of_a_run(
    caplog: pytest.LogCaptureFixture,
) -> None:
    told = list[tuple[str, str]]()

    job_log_of(told).settled_many((settled(Released("no_handler", "greet"), ran=False),))

    assert told == [("mail", "greet")]
    assert caplog.records == []
