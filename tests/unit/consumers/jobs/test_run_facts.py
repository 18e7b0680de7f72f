"""What is kept beside an end is read in the form that is written, and nothing else breaks it."""

from __future__ import annotations

import pytest

from consumers.jobs.run_facts import RunFacts, part, read_facts, starts
from consumers.store.facts import written

CREATED = 1_700_000_000_000
FINISHED = CREATED + 45
PLAIN = RunFacts("greet", "host-0", CREATED, None, None, FINISHED, 0, "", b"", b"")


def kept(text: str) -> bytes:
    """Return facts with the times for F and C."""
    return text.replace("F", str(FINISHED)).replace("C", str(CREATED)).encode()


@pytest.mark.parametrize(
    ("first", "last", "attempts", "told", "expected"),
    [
        (CREATED + 12, CREATED + 12, 1, 12, (CREATED + 12, CREATED + 12, 1)),
        # Clocks may differ a little.
        (CREATED - 3, CREATED - 3, 1, 0, (CREATED, CREATED, 1)),
        (CREATED + 5, CREATED + 90, 3, "5/90/3", (CREATED + 5, CREATED + 90, 3)),
        # After a snooze.
        (CREATED + 5, CREATED + 90, 1, "5/90/1", (CREATED + 5, CREATED + 90, 1)),
        (1, CREATED + 90, 2, "/90/2", (None, CREATED + 90, 2)),
        (CREATED + 5, 0, 1, "5//1", (CREATED + 5, None, 1)),
        (0, 0, 2, "//2", (None, None, 2)),
        (0, 0, 0, "", (None, None, 0)),
        (1, 0, 0, "", (None, None, 0)),
    ],
)
def test_starts_are_read_as_they_were_written(
    first: int, last: int, attempts: int, told: int | str, expected: tuple[int | None, ...]
) -> None:
    began = starts(CREATED, first, last, attempts)
    stored = written("host-0", f"{CREATED},{began},greet", FINISHED)

    assert began == told
    assert stored == b";1,host-0,%d,%d,%s,greet" % (FINISHED, CREATED, str(told).encode())
    found = read_facts(stored[1:])
    assert found is not None
    assert (found.first_started, found.last_started, found.attempts) == expected
    assert found.finished_at == max(FINISHED, found.last_started or 0)


def test_parts_hold_no_space_and_come_back_as_they_were() -> None:
    errors, data = b'[{"error":"a, b; c"}]', '{"n": "Ada \\u001f L\u00e9"}'.encode()
    about = b"greet" + part("t", b"shop.No Such") + part("e", errors) + part("d", data)
    told = b"%d,,%b" % (CREATED, about + part("z", b"a newer version's"))

    stored = written("", told, FINISHED)

    assert b" " not in stored
    facts = PLAIN._replace(worker="", error_type="shop.No Such")
    assert read_facts(stored[1:]) == facts._replace(errors=errors, data=data)


def test_nothing_is_written_where_nothing_is_told() -> None:
    assert written("host-0", "", CREATED) == b""


def test_more_than_this_version_knows_is_passed_over() -> None:
    assert read_facts(kept("1,host-0,F,C,,greet,more,and more")) == PLAIN


@pytest.mark.parametrize(
    "text",
    [
        "", "1", "2,host-0,F,C,,greet", "ms=5,w=x", "1,host-0,F,C,", "1,host-0,F,,,greet",
        "1,host-0,-1,C,,greet", "1,host-0,4.5,C,,greet", "1,host-0,1e+15,C,,greet",
        "1,host-0,F,C,x,greet", "1,host-0,F,C,1/2,greet", "1,host-0,F,C0000,,greet",
        "1,host-0,F,C,//9999999999,greet",
    ],
)  # fmt: skip
def test_what_is_no_such_facts_are_none(text: str) -> None:
    assert read_facts(kept(text)) is None


def test_a_start_that_is_no_time_is_not_known() -> None:
    found = read_facts(kept("1,host-0,F,C,%s,greet") % (b"9" * 20))

    assert found == PLAIN._replace(attempts=1)
