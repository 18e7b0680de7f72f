"""What the log says of jobs, and how much of it at most."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from consumers.jobs.envelope import Envelope
from consumers.jobs.lanes import Lane
from consumers.jobs.outcome import Buried, Cancelled, Completed, Outcome, Ran, Released, RetryAt
from consumers.jobs.texts import describe
from consumers.store.delivery import Delivery, Stream
from consumers.store.keys import Keys
from consumers.store.settling import Settled, Settlement
from processors.retries.signals import Retry, Snooze
from taskmanager.worker import line_limit
from taskmanager.worker.job_log import JobLog
from taskmanager.worker.line_limit import MOST_LINES, LineLimit

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


def job_log_of(
    handed_on: list[tuple[str, str]] | None = None, limit: LineLimit | None = None
) -> JobLog:
    told: list[tuple[str, str]] = [] if handed_on is None else handed_on
    return JobLog(lambda *name: told.append(name), limit or LineLimit())


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
    assert retry.getMessage() == "greet failed, retrying in 2 s: ValueError: no such user"
    assert death.levelname == "ERROR"
    assert death.getMessage() == "greet failed permanently: ValueError: no such user"
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
    assert plain.getMessage() == "greet failed, retrying in 0 ms: Retry: later"
    assert plain.exc_info is None
    assert with_cause.exc_info is not None
    assert with_cause.exc_info[1] is cause
    assert snoozed.getMessage() == "greet was postponed for 5 s after 12 ms: no room yet"


async def test_a_retry_policy_that_raised_is_said_beside_the_error(
    caplog: pytest.LogCaptureFixture,
) -> None:
    error = ValueError("no such user")
    buried = Buried("failed", f"{describe(error)}\nand its retry policy raised KeyError: 'x'")

    job_log_of().settled_many((settled(buried, error=error),))

    assert caplog.messages == [
        "greet failed permanently: ValueError: no such user; and its retry policy raised "
        "KeyError: 'x'"
    ]


async def test_a_bad_payload_is_said_in_the_sentence_of_an_emit(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bad = Buried("bad_payload", "url: Field required\nseconds: Input should be a valid integer")

    job_log_of().settled_many((settled(bad, ran=False),))

    assert caplog.records[0].getMessage() == (
        "greet failed permanently: the data of 'greet' does not fit its handler in queue 'mail': "
        "url: Field required; seconds: Input should be a valid integer"
    )


@pytest.mark.parametrize(
    ("outcome", "sentence"),
    [
        (RetryAt(500, uses_attempt=False), "greet was postponed for 500 ms after 12 ms"),
        (RetryAt(3_600_000, uses_attempt=False), "greet was postponed for 1 h after 12 ms"),
        (RetryAt(5_000_000, uses_attempt=False), "greet was postponed for 1.39 h after 12 ms"),
        (Cancelled("cancelled"), "greet was cancelled after 12 ms"),
        (Cancelled("not needed"), "greet was cancelled after 12 ms: not needed"),
        (Released("shutdown"), "greet was returned to the queue after 12 ms: shutdown"),
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

    assert [it.getMessage() for it in caplog.records] == ["greet was cancelled: expired"]


async def test_of_many_lines_some_are_written_and_the_rest_is_counted(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    # However slow the machine is, all of it comes in one window.
    monkeypatch.setattr(line_limit, "_WINDOW", 3600.0)
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
    assert lines[-1].getMessage() == "9,960 more jobs not shown: 9,950 completed, 10 cancelled"
    # What goes wrong is caplog.records each time.
    assert len(caplog.records) == len(lines) + 10


async def test_the_next_second_has_lines_of_its_own_behind_the_count_of_the_last(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(line_limit, "_WINDOW", 3600.0)
    limit = LineLimit()
    log = job_log_of(limit=limit)
    log.settled_many([settled(Completed())] * (MOST_LINES + 1))
    limit.until = 0.0

    log.settled_many((settled(Completed()),))

    assert [it.getMessage() for it in caplog.records[MOST_LINES:]] == [
        "1 more job not shown: 1 completed", "greet completed in 12 ms",
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


def raised(error: BaseException) -> BaseException:
    try:
        raise error
    except BaseException as caught:
        return caught


async def test_a_death_by_retry_says_that_no_attempt_is_left_with_its_own_traceback(
    caplog: pytest.LogCaptureFixture,
) -> None:
    plain, reasoned = raised(Retry(delay=1)), raised(Retry("busy"))
    deaths = [
        settled(Buried("failed", describe(it)), error=it, attempt=4) for it in (plain, reasoned)
    ]

    job_log_of().settled_many(deaths)

    asked = "greet failed permanently: it asked for a retry but has none left (attempt 4 of 4)"
    assert caplog.messages == [asked, f"{asked}: busy"]
    assert [it.exc_info and it.exc_info[1] for it in caplog.records] == [plain, reasoned]


async def test_an_error_without_a_text_is_its_class_without_a_colon(
    caplog: pytest.LogCaptureFixture,
) -> None:
    error = Exception()
    policy = f"{describe(error)}\nand its retry policy raised KeyError: "

    job_log_of().settled_many(
        (
            settled(Buried("failed", describe(error)), error=error),
            settled(Buried("failed", policy), error=error),
            settled(RetryAt(1, b"[]"), error=ExceptionGroup("two", [error, ValueError("x")])),
        )
    )

    assert caplog.messages == [
        "greet failed permanently: Exception",
        "greet failed permanently: Exception; and its retry policy raised KeyError",
        "greet failed, retrying in 1 ms: "
        "ExceptionGroup: two (2 sub-exceptions): Exception; ValueError: x",
    ]


async def test_what_jobs_say_is_one_harmless_line_for_any_formatter(
    caplog: pytest.LogCaptureFixture,
) -> None:
    forged = "done\n05:00:00 ERROR root \x1b[2J\u202e"

    job_log_of().settled_many(
        (
            settled(Cancelled(forged)),
            settled(RetryAt(1, uses_attempt=False), error=Snooze(1, forged)),
            settled(RetryAt(1, b"[]"), error=ValueError(forged)),
            settled(Buried("failed", forged)),
        )
    )

    assert len(caplog.messages) == 4
    for message in caplog.messages:
        assert message.isprintable()
        assert r"ERROR root \x1b[2J\u202e" in message


@pytest.mark.parametrize(
    "error",
    [
        ValueError("A" * 100_000),
        ExceptionGroup("g", [ValueError("\u202e" * 100_000)]),
        ExceptionGroup("many", [ValueError()] * 1000),
    ],
    ids=["long", "in-a-group", "many"],
)
async def test_what_others_write_of_a_huge_error_is_bounded(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    # Whoever has a format of their own for tracebacks keeps it for what is not huge.
    cached, small = [], ValueError("x")

    with filtering(lambda it: cached.append(it.exc_text is not None) or True):
        job_log_of().settled_many(
            (settled(RetryAt(1, b"[]"), error=error), settled(RetryAt(1, b"[]"), error=small))
        )

    assert cached == [True, False]
    huge = caplog.records[0]
    assert len(logging.Formatter().format(huge).encode()) < 18_000
    assert huge.exc_info is not None
    assert huge.exc_info[1] is error


@contextmanager
def filtering(look: Callable[[logging.LogRecord], bool]) -> Iterator[None]:
    logger = logging.getLogger("taskmanager.jobs")
    logger.addFilter(look)
    try:
        yield
    finally:
        logger.removeFilter(look)


async def test_a_filter_that_raises_costs_its_own_line_and_no_other(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(line_limit, "_WINDOW", 3600.0)
    limit = LineLimit()
    log, lost = job_log_of(limit=limit), ("not shown", "cancelled")

    def broken(record: logging.LogRecord) -> bool:
        if any(it in record.getMessage() for it in lost):
            raise KeyError("filter")
        return True

    with filtering(broken):
        log.settled_many((settled(Cancelled("no")), *[settled(Completed())] * MOST_LINES))
        log.finish()
        limit.until = 0.0
        log.settled_many((settled(Completed()), settled(Buried("failed", "late"))))
        log.finish()

    jobs = [it for it in caplog.records if it.name == "taskmanager.jobs"]
    # One of the second batch was left for the count, which was lost.
    assert len(jobs) == MOST_LINES - 1 + 2
    assert jobs[-1].getMessage() == "greet failed permanently: late"
    said = [it.getMessage() for it in caplog.records if it.name == "taskmanager.worker"]
    assert [it.partition(" to the log taskmanager.jobs")[0] for it in said] == [
        "could not write the log line of job job-1",
        "could not write the number of jobs not shown (1 completed)",
    ]


async def test_fields_that_the_applications_record_factory_sets_too_are_those_of_the_job(
    caplog: pytest.LogCaptureFixture,
) -> None:
    make = logging.getLogRecordFactory()

    def with_context(*args: object, **more: object) -> logging.LogRecord:
        record = make(*args, **more)
        vars(record).update(job="context", queue="context", request="r-1")
        return record

    logging.setLogRecordFactory(with_context)
    try:
        job_log_of().settled_many((settled(Completed()), settled(Buried("failed", "late"))))
    finally:
        logging.setLogRecordFactory(make)

    assert caplog.messages == ["greet completed in 12 ms", "greet failed permanently: late"]
    for line in map(vars, caplog.records):
        assert (line["job"], line["queue"], line["request"]) == ("job-1", "mail", "r-1")
        assert line["filename"] == "job_log.py"


def test_workers_of_one_process_share_its_lines_in_whatever_threads_they_run(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(line_limit, "_WINDOW", 3600.0)
    limit = LineLimit()

    async def work() -> None:
        log = job_log_of(limit=limit)
        for _ in range(25):
            log.settled_many([settled(Completed())] * 10)
        log.finish()

    threads = [threading.Thread(target=asyncio.run, args=(work(),)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    shown = [it for it in caplog.messages if "completed in" in it]
    counts = [it for it in caplog.messages if "not shown" in it]
    assert len(shown) == MOST_LINES
    assert sum(int(it.split()[0]) for it in counts) == 1000 - MOST_LINES
    assert JobLog(print)._limit is JobLog(print)._limit
