"""What comes from payloads and from Redis neither steers a terminal nor passes for a log line."""

from __future__ import annotations

import json
import logging
import sys
from typing import Any

import pytest

from taskmanager.cli.exits import Exit
from taskmanager.cli.output import section
from taskmanager.escapes import escaped_json
from taskmanager.worker.logs import ConsoleFormatter, JsonFormatter

TITLE = "\x1b]0;owned\x07"
FORGED = "a\n12:00:00.000 ERROR   root  forged"
# Characters that a terminal or a reader of lines obeys.
OBEYED = ["\x1b", "\x07", "\x9b", "\u202e", "\u2028", "\x85", "\r"]


def record(message: str, *args: object, error: BaseException | None = None, **extra: Any) -> Any:
    exc_info = None if error is None else (type(error), error, error.__traceback__)
    found = logging.LogRecord("shop", logging.ERROR, "shop.py", 1, message, args, exc_info)
    vars(found).update(extra)
    return found


def raised(message: str) -> BaseException:
    try:
        raise ValueError(message)
    except ValueError:
        error = sys.exc_info()[1]
        assert error is not None
        return error


@pytest.mark.parametrize("text", OBEYED)
def test_the_console_format_prints_what_is_obeyed_as_escapes_wherever_it_stands(text: str) -> None:
    line = ConsoleFormatter().format(record("got %s", text, error=raised(text), job=text))

    assert text not in line
    assert line.count(text.encode("unicode_escape").decode()) == 3


def test_a_newline_in_a_message_or_a_field_begins_no_line() -> None:
    line = ConsoleFormatter().format(record("got %s", FORGED, job=FORGED))

    assert line.count("\n") == 0
    assert line.count(r"a\n12:00:00.000 ERROR") == 2


def test_the_newline_that_ends_a_message_is_left_out() -> None:
    assert ConsoleFormatter().format(record("a warning\n")).endswith("  a warning")


def test_a_newline_in_an_error_begins_an_indented_line() -> None:
    _, *below = ConsoleFormatter().format(record("failed", error=raised(FORGED))).split("\n")

    assert below[0] == "  Traceback (most recent call last):"
    assert below[-1] == "  12:00:00.000 ERROR   root  forged"
    assert all(line.startswith("  ") for line in below)


@pytest.mark.parametrize(
    "text", [*OBEYED, TITLE, FORGED, "half \ud83d", "\U000e0001", "Grüße 你好"]
)
def test_the_json_format_holds_the_text_in_one_harmless_line(text: str) -> None:
    line = JsonFormatter().format(record("got %s", text, error=raised(text), job=text))

    assert line.isprintable()
    entry = json.loads(line)
    assert (entry["message"], entry["job"]) == (f"got {text}", text)
    assert entry["traceback"].endswith(f"ValueError: {text}")


class Broken:
    def __str__(self) -> str:
        raise ValueError("no text")

    __repr__ = __str__


CYCLE: list[Any] = []
CYCLE.append(CYCLE)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (float("nan"), "nan"),
        ({(1, 2): 3}, "{(1, 2): 3}"),
        (CYCLE, "[[...]]"),
        (Broken(), "a Broken that cannot be shown"),
        ([Broken()], ["a Broken that cannot be shown"]),
    ],
)
def test_a_field_that_has_no_json_is_text_and_the_line_is_not_lost(value: Any, text: Any) -> None:
    line = JsonFormatter().format(record("got it", value=value, job="7"))

    entry = json.loads(line, parse_constant=pytest.fail)
    assert (entry["value"], entry["job"], entry["message"]) == (text, "7", "got it")
    assert "job=7" in ConsoleFormatter().format(record("got it", value=value, job="7"))


@pytest.mark.parametrize("formatter", [ConsoleFormatter(), JsonFormatter()])
def test_the_text_of_an_error_is_bounded_before_it_is_escaped(formatter: logging.Formatter) -> None:
    line = formatter.format(record("failed", error=raised("head" + "\u202e" * 100_000 + "tail")))

    # 16 KiB, of which three bytes become six.
    assert len(line) < 40_000
    assert "Traceback" in line
    assert "tail" in line


def test_json_that_is_printable_is_left_as_it_is() -> None:
    text = '{"text": "Grüße 你好"}'

    assert escaped_json(text) is text


def test_errors_and_names_of_sections_are_printed_as_escapes_too() -> None:
    assert Exit(f"no job {TITLE}", 1).message == r"no job \x1b]0;owned\x07"
    assert section(f"died of {TITLE}", "x") == "died of \\x1b]0;owned\\x07\n  x"
