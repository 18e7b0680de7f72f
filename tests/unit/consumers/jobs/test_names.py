"""Names and job ids: what may become part of a key."""

from __future__ import annotations

import pytest

from consumers.errors import InvalidName
from consumers.jobs.names import check_job_id, check_name


@pytest.mark.parametrize("name", ["a", "7", "send-email", "A.b_c-9", "x" * 128])
def test_a_name_comes_back_unchanged(name: str) -> None:
    assert check_name("queue", name) == name


@pytest.mark.parametrize(
    "name",
    ["", "x" * 129, "-a", ".a", "_a", "a b", "a\n", "a:b", "{a}", "ä", "a/b", "a*", None, 7, b"a"],
)
def test_what_is_no_name_is_refused(name: object) -> None:
    with pytest.raises(InvalidName, match=r"queue .* is not allowed: use 1 to 128 of A-Z"):
        check_name("queue", name)


def test_the_error_says_what_was_named_and_carries_it() -> None:
    with pytest.raises(InvalidName, match=r"^partition 'a b' is not allowed") as caught:
        check_name("partition", "a b")

    assert (caught.value.kind, caught.value.given) == ("partition", "a b")


def test_a_type_must_not_look_like_the_lane_of_an_event() -> None:
    with pytest.raises(InvalidName, match=r'must not start with "event."'):
        check_name("type", "event.send-email")


def test_an_event_may_start_like_the_lane_of_an_event() -> None:
    assert check_name("event", "event.started") == "event.started"


@pytest.mark.parametrize("job_id", ["1", "order:7/{a}*~!", "x" * 256])
def test_a_job_id_is_printable_ascii(job_id: str) -> None:
    assert check_job_id(job_id) == job_id


@pytest.mark.parametrize("job_id", ["", "x" * 257, "a b", "a\n", "a\t", "é", "\x7f", 7, None])
def test_what_is_no_job_id_is_refused(job_id: object) -> None:
    with pytest.raises(InvalidName, match="use 1 to 256 printable ASCII characters without spaces"):
        check_job_id(job_id)
