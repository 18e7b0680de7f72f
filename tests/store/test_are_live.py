"""living on real Redis: which runs somebody may still wait for."""

from __future__ import annotations

from typing import Any

import pytest

from consumers.jobs.outcome import Completed, RetryAt
from consumers.store import asking, steps
from tests.support.queue import Queue, new_job

LATER = "+3600000"


def living(queue: Queue, *runs: tuple[str, int]) -> str:
    flags: bytes = queue.run(asking.are_live(queue.keys, runs))
    return flags.decode()


def waiting(queue: Queue) -> None:
    queue.emit(new_job("a"))


def running(queue: Queue) -> None:
    queue.one(new_job("a"))


def delayed(queue: Queue) -> None:
    queue.emit(new_job("a", due=LATER))


def retrying(queue: Queue) -> None:
    queue.settle((queue.one(new_job("a")), RetryAt(3_600_000)))


def being_cancelled(queue: Queue) -> None:
    queue.one(new_job("a"))
    assert queue.cancel()[0] == "requested"


@pytest.mark.parametrize("bring", [waiting, running, delayed, retrying, being_cancelled])
def test_a_run_is_live_until_it_has_ended_and_no_other_of_its_id_is(
    queue: Queue, bring: Any
) -> None:
    bring(queue)

    assert living(queue, ("a", 1), ("a", 2), ("b", 1)) == "100"


def test_a_run_that_has_ended_is_not_live(queue: Queue) -> None:
    queue.settle((queue.one(), Completed()))

    assert living(queue, ("a", 1)) == "0"


def test_a_run_whose_entry_was_deleted_while_it_waited_is_not_live(queue: Queue) -> None:
    waiting(queue)
    queue.redis.xtrim(queue.stream().key, maxlen=0, approximate=False)

    assert living(queue, ("a", 1)) == "0"


def test_a_run_that_is_put_off_and_has_lost_its_envelope_is_not_live(queue: Queue) -> None:
    delayed(queue)
    queue.redis.delete(f"{queue.keys.delayed}:envelopes")

    assert living(queue, ("a", 1)) == "0"


def test_a_run_in_somebodys_hands_is_live_without_its_entry_too(queue: Queue) -> None:
    delivery = queue.one()
    queue.redis.xdel(delivery.stream.key, delivery.entry)

    assert living(queue, ("a", 1)) == "1"

    assert queue.settle((delivery, Completed())) == ["1"]
    assert living(queue, ("a", 1)) == "0"


def test_of_many_runs_with_large_entries_the_first_are_answered_for(queue: Queue) -> None:
    names = [f"job-{n}" for n in range(8)]
    queue.emit(*(new_job(name, data=b"x" * (steps.BATCH_BYTES // 4)) for name in names))
    runs = [(name, n) for n, name in enumerate(names, start=1)]

    first = living(queue, *runs)
    rest = living(queue, *runs[len(first) :])

    assert 1 <= len(first) < 8
    assert first + rest == "1" * 8
