"""cancel.lua on real Redis: the id of a cancelled job is used again."""

from __future__ import annotations

from collections.abc import Callable

from consumers.jobs.outcome import Buried, Completed
from consumers.store import relaying
from consumers.store.keys import bucket
from consumers.store.settling import Settlement
from tests.store.cancel.jobs import (
    CHANNEL,
    GONE,
    OUTCOME,
    PUT_OFF,
    result,
    settlement,
    wait_for_its_end,
)
from tests.support.queue import Queue, listening, new_job


def test_an_id_that_was_cancelled_while_it_waited_is_emitted_anew_and_runs(queue: Queue) -> None:
    queue.emit(new_job(data=b"1"))
    queue.cancel()

    assert queue.emit(new_job(data=b"2")) == ["+2"]

    old, new = queue.deliver()
    assert queue.settle((old, Completed(b"1")), (new, Completed(b"2"))) == ["C", "1"]
    assert result(queue) == b"2 completed 2"
    assert (queue.pointer(), queue.ids(), queue.marks()) == (None, [], (set(), set()))
    assert (queue.stat("completed"), queue.stat("cancelled")) == (1, 1)


@PUT_OFF
def test_an_id_that_was_cancelled_while_it_was_put_off_is_emitted_anew(
    queue: Queue, put_off: Callable[..., None]
) -> None:
    put_off(queue)
    queue.cancel()

    assert queue.emit(new_job(data=b"2")) == ["+2"]

    (delivery,) = queue.deliver()
    assert queue.settle((delivery, Completed())) == ["1"]


@OUTCOME
def test_an_id_is_emitted_anew_while_its_cancelled_run_still_runs_and_is_not_touched_by_it(
    queue: Queue, kind: str
) -> None:
    old = queue.one()
    wait_for_its_end(queue)
    queue.cancel()

    assert queue.emit(new_job(data=b"2")) == ["+2"]

    pointer = queue.pointer()
    wait_for_its_end(queue)
    with listening(queue.redis, CHANNEL) as told:
        assert queue.settle(settlement(old, kind)) == ["C"]
    assert (queue.pointer(), result(queue)) == (pointer, None)
    # Who waited for the old run is told; who waits for the new one is not forgotten.
    assert told == [f"{queue.keys.base} a 1 cancelled cancelled"]
    assert queue.marks() == (set(), set())
    (new,) = queue.deliver()
    with listening(queue.redis, CHANNEL) as told:
        assert queue.settle((new, Completed(b"2"))) == ["1"]
    assert told == [f"{queue.keys.base} a 2 completed 2"]
    assert (queue.pointer(), queue.ids()) == (None, [])


def test_a_run_that_ended_before_the_cancelled_one_before_it_keeps_its_result(
    queue: Queue,
) -> None:
    old = queue.one()
    queue.cancel()
    queue.emit(new_job())
    (new,) = queue.deliver()
    queue.settle((new, Completed(b"2")))

    assert queue.settle((old, Completed(b"1"))) == ["C"]

    assert (result(queue), queue.pointer()) == (b"2 completed 2", None)


def test_the_run_after_a_cancelled_one_is_cancelled_on_its_own(queue: Queue) -> None:
    old = queue.one()
    queue.cancel()
    queue.emit(new_job())

    assert queue.cancel(run=1) == GONE
    assert queue.cancel(run=2) == ("cancelled", 2)

    (new,) = queue.deliver()
    assert queue.settle((old, Completed()), (new, Completed())) == ["C", "C"]
    assert (queue.stat("cancelled"), result(queue)) == (2, b"2 cancelled cancelled")


def test_an_id_whose_run_is_cancelled_may_be_a_child(queue: Queue) -> None:
    parent = queue.one(new_job("parent"))
    old = queue.one()
    queue.cancel()

    assert queue.settle(Settlement(parent, Completed(), [new_job(data=b"2")])) == ["1"]

    assert queue.settle((old, Completed())) == ["C"]
    (new,) = queue.deliver()
    assert (new.envelope.data, new.envelope.generation) == (b"2", 3)


def test_an_id_whose_run_is_cancelled_is_taken_from_an_outbox(queue: Queue) -> None:
    old = queue.one()
    queue.cancel()
    posted = ["1-1", queue.lane.name, bucket("a"), "a", "e", b"2", b"", "", ""]

    assert queue.run(relaying.relay(queue.keys, relaying.Outbox("other", "1"), [posted])) == [
        1,
        0,
    ]

    assert queue.settle((old, Completed())) == ["C"]
    (new,) = queue.deliver()
    assert (new.envelope.data, new.envelope.generation) == (b"2", 2)


def test_a_dead_letter_comes_back_while_a_cancelled_run_of_its_id_still_runs(
    queue: Queue,
) -> None:
    queue.settle((queue.one(), Buried("failed")))
    old = queue.one()
    queue.cancel()

    assert queue.replay("a") == ["+3"]

    assert queue.settle((old, Completed())) == ["C"]
    (new,) = queue.deliver()
    assert queue.settle((new, Completed(b"3"))) == ["1"]
    assert result(queue) == b"3 completed 3"
