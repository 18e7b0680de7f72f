"""How commands that read lay out what they found, and what they take for durations and rates."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from consumers.admin.dead_letters import DeadLetter
from taskmanager.cli import cli
from taskmanager.cli.objects import as_json, job_object, letter_object, plain
from taskmanager.cli.output import age_of, brief, data, fields, section, table
from taskmanager.cli.units import duration, milliseconds, rate
from taskmanager.escapes import escaped
from taskmanager.handles.info import JobInfo, JobState, LogLine, Progress

NOWHERE = "redis://alice:s3cret@127.0.0.1:1/0"
NOON = datetime(2026, 3, 1, 12, 0, 0, 250_000, UTC)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ("--url", NOWHERE, *arguments))


def letter(**other: Any) -> DeadLetter:
    facts: dict[str, Any] = {
        "id": "7", "event": "send", "queue": "mail", "data": {"to": "ada"}, "raw": None,
        "reason": "failed", "error": "Traceback\nOSError: full", "attempts": 2, "deliveries": 3,
        "errors": [{"at": 1_000, "attempt": 2, "delivery": 3, "error": "OSError: full"}],
        "died_at": NOON, "run": 4, "entry": "5-0",
    }  # fmt: skip
    return DeadLetter(**{**facts, **other})


# --- Text --------------------------------------------------------------------------------


def test_a_table_aligns_its_columns_and_puts_numbers_to_the_right() -> None:
    text = table(["queue", "waiting", "oldest"], [("mail", 12_000, None), ("x", 1, "3s")])

    assert text.splitlines() == [
        "queue  waiting  oldest",
        "mail    12,000  -",
        "x            1  3s",
    ]


def test_fields_are_aligned_and_leave_out_what_is_not_known() -> None:
    text = fields([("id", "7"), ("worker", None), ("created_at", NOON)])

    assert text == "id          7\ncreated at  2026-03-01T12:00:00Z"


def test_a_section_indents_every_line() -> None:
    assert section("error", "one\ntwo\x1b[2J\n") == "error\n  one\n  two\\x1b[2J"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain ä € 日本", "plain ä € 日本"),
        ("\x1b[31mred\x07", "\\x1b[31mred\\x07"),
        ("a\r\nb\tc", "a\\r\\nb\\tc"),
        ("\x9b2J \u202eevil \u2028", "\\x9b2J \\u202eevil \\u2028"),
        ("half \ud83d", "half \\ud83d"),
    ],
)
def test_nothing_that_a_terminal_obeys_is_printed(text: str, shown: str) -> None:
    assert escaped(text) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("short", "short"),
        ("exactly 10", "exactly 10"),
        ("more than 10", "more th..."),
        ("\n" * 10, "\\n\\n\\n\\..."),
    ],
)
def test_a_long_text_is_cut_with_its_escapes_counted(text: str, shown: str) -> None:
    assert brief(text, 10) == shown


def test_long_data_take_several_lines() -> None:
    assert data({"n": 1}) == '{"n": 1}'
    assert data({"n": "x" * 100}).count("\n") == 2


@pytest.mark.parametrize(
    ("ms", "shown"),
    [(None, None), (40, "0.0s"), (1_250, "1.2s"), (59_999, "59s"), (61_000, "1m 1s"),
     (3_600_000, "1h 0m"), (90_000_000, "1d 1h")],
)  # fmt: skip
def test_an_age_has_two_units(ms: int | None, shown: str | None) -> None:
    assert age_of(ms) == shown


# --- JSON --------------------------------------------------------------------------------


def test_times_are_iso_8601_in_utc_and_bytes_base64() -> None:
    elsewhere = NOON.astimezone(timezone(timedelta(hours=5)))

    assert plain([elsewhere, b"\xff\x00"]) == ["2026-03-01T12:00:00.250Z", "/wA="]
    assert plain(LogLine(NOON, "one")) == {"at": "2026-03-01T12:00:00.250Z", "message": "one"}


def test_a_letter_is_one_object_with_the_times_of_its_errors_as_text() -> None:
    found = json.loads(as_json(letter_object(letter())))

    error = {"attempt": 2, "delivery": 3, "error": "OSError: full"}
    assert found == {
        "id": "7", "event": "send", "queue": "mail", "data": {"to": "ada"}, "raw": None,
        "reason": "failed", "error": "Traceback\nOSError: full", "attempts": 2, "deliveries": 3,
        "errors": [{"at": "1970-01-01T00:00:01.000Z", **error}],
        "died_at": "2026-03-01T12:00:00.250Z", "run": 4, "created_at": None, "started_at": None,
    }  # fmt: skip


def test_a_job_is_one_object_with_its_letter_and_progress() -> None:
    info = JobInfo("7", "mail", JobState.DEAD, 4, letter=letter())

    found = job_object(info, Progress(NOON, 1.0, None, "half"))

    assert found["letter"]["reason"] == "failed"
    assert found["progress"] == {
        "at": "2026-03-01T12:00:00.250Z", "done": 1.0, "total": None, "note": "half",
    }  # fmt: skip
    assert job_object(JobInfo("7", "mail", JobState.WAITING, 4), None)["letter"] is None


def test_json_holds_no_control_characters() -> None:
    assert as_json({"a": "\x1b\x9b\u202e"}).isascii()
    assert as_json({"a": "\x1b\x9b\u202e"}).isprintable()


# --- Usage -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("0.5", 0.5), ("50ms", 0.05), ("30s", 30), ("5m", 300), ("2h", 7200),
     ("7d", 604_800), ("1 w", 604_800)],
)  # fmt: skip
def test_durations_are_seconds_or_have_a_unit(text: str, seconds: float) -> None:
    assert duration(text) == seconds


def test_milliseconds_are_whole_and_given_as_durations_are() -> None:
    assert [milliseconds(it) for it in ("0.5", "1500ms", "1ms", "2m", "0")] == [
        500, 1500, 1, 120_000, 0
    ]  # fmt: skip
    with pytest.raises(click.BadParameter, match="shorter than 1ms"):
        milliseconds("0.0001")


@pytest.mark.parametrize(
    ("text", "a_second"), [("50", 50), ("50/s", 50), ("600/m", 10), ("1800/h", 0.5)]
)
def test_rates_are_a_second_or_name_their_unit(text: str, a_second: float) -> None:
    assert rate(text) == a_second


@pytest.mark.parametrize("text", ["", "-1", "7 days", "1e3", "nan", "٣"])
def test_what_is_no_duration_and_no_rate_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter, match="is not a duration"):
        duration(text)
    with pytest.raises(click.BadParameter, match="is not a rate"):
        rate(text)


@pytest.mark.parametrize(
    "arguments",
    [
        ("queues",),
        ("queues", "show"),
        ("jobs", "show"),
        ("dlq", "ls", "--limit", "0"),
        ("dlq", "show"),
        ("dlq", "replay"),
        ("dlq", "replay", "7", "--all"),
        ("dlq", "replay", "7", "--rate", "5/s"),
        ("dlq", "replay", "--all", "--yes", "--rate", "0"),
        ("dlq", "purge", "--yes", "--older-than", "soon"),
        ("jobs", "cancel"),
        ("queues", "pause"),
        ("queues", "resume"),
        ("schedules",),
        ("schedules", "next"),
        ("schedules", "next", "x", "-n", "0"),
        ("schedules", "run"),
        ("schedules", "rm", "--yes"),
        ("emit", "x", "--debounce", "soon"),
        ("emit", "x", "--debounce-mode", "trailing"),
        ("emit", "x", "--debounce", "1", "--idempotency-key", "7"),
        ("emit", "x", "--delay", "soon"),
        ("emit", "x", "--delay", "400d"),
        ("emit", "x", "--timeout", "0"),
        ("emit", "x", "--max-retries", "-1"),
    ],
)
def test_wrong_usage_exits_2(arguments: tuple[str, ...]) -> None:
    result = run(*arguments)

    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    "arguments", [("dlq", "purge"), ("dlq", "replay", "--all"), ("schedules", "rm", "x")]
)
def test_what_destroys_needs_a_terminal_or_yes(arguments: tuple[str, ...]) -> None:
    result = run(*arguments)

    assert result.exit_code == 2
    assert "--yes" in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("queues", "ls"), ("queues", "show", "x"), ("jobs", "show", "7"), ("jobs", "logs", "7"),
        ("dlq", "ls"), ("dlq", "show", "7"), ("dlq", "replay", "7"), ("dlq", "purge", "--yes"),
        ("dlq", "replay", "--all", "--yes"), ("jobs", "cancel", "7"), ("queues", "pause", "x"),
        ("queues", "resume", "x"), ("schedules", "ls"), ("schedules", "next", "x"),
        ("schedules", "run", "x"), ("schedules", "pause", "x"), ("schedules", "resume", "x"),
        ("schedules", "rm", "x", "--yes"),
    ],
)  # fmt: skip
def test_an_unreachable_redis_exits_3_with_one_line(arguments: tuple[str, ...]) -> None:
    result = run(*arguments)

    assert result.exit_code == 3
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    assert "s3cret" not in result.output
