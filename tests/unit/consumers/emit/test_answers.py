"""The answer to an emit is read as one answer a job, whether or not it says them one by one."""

from __future__ import annotations

import pytest

from consumers.emit.answers import read_answers
from consumers.emit.batches import Answer, Emitted
from consumers.errors import BrokenKey, QueueFull, TooManyLanes
from consumers.jobs.envelope import NewJob
from consumers.jobs.lanes import Lane

JOBS = [NewJob(it, "work", b"{}", Lane("default")) for it in "abcde"]


def read(answer: bytes) -> list[Answer]:
    return read_answers(answer, JOBS, 7, None)


def added(job_id: str, run: int) -> Emitted:
    return Emitted(job_id, True, run)


@pytest.mark.parametrize(
    "answer",
    [b"+1 +2 +3 +4 +5", b"+1*5", b"+1 +2*4", b"+1*4 +5", b"+1*2 +3*3", b"+1*1 +2 +3*1 +4*2"],
)
def test_a_run_is_as_many_words(answer: bytes) -> None:
    assert read(answer) == [added(*it) for it in zip("abcde", range(1, 6), strict=True)]


def test_what_was_not_added_stands_between_runs() -> None:
    seen = list[tuple[NewJob, Emitted]]()

    answers = read_answers(
        b"+8*2 =3 ~4:x +10", JOBS, None, lambda job, live: seen.append((job, live))
    )

    live = Emitted("c", False, 3)
    assert answers == [added("a", 8), added("b", 9), live, Emitted("x", False, 4), added("e", 10)]
    assert seen == [(JOBS[2], live)]


def test_each_refusal_is_an_error_of_its_job() -> None:
    full, lanes, broken, *others = read(b"F L Tkey +1*2")

    assert isinstance(full, QueueFull)
    assert isinstance(lanes, TooManyLanes)
    assert isinstance(broken, BrokenKey)
    assert others == [added("d", 1), added("e", 2)]


@pytest.mark.parametrize(
    "answer",
    [b"", b"+1", b"+1*4", b"+1*6", b"+1*5 +6", b"+1*4 +5*2", b"+1*5 F", b"+1*", b"+*5", b"+1*2*3"],
)
def test_an_answer_to_other_jobs_is_not_taken_for_one_to_these(answer: bytes) -> None:
    with pytest.raises((ValueError, IndexError)):
        read(answer)
