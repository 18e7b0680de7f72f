"""cancel.lua on real Redis: jobs that are put off."""

from __future__ import annotations

from collections.abc import Callable

from tests.store.cancel.jobs import GONE, LATER, PUT_OFF, result
from tests.support.queue import Queue, new_job


def reserved(queue: Queue) -> dict[str, int]:
    found = queue.redis.hgetall(f"{queue.keys.delayed}:lanes")
    return {name.decode(): int(count) for name, count in found.items()}


@PUT_OFF
def test_a_job_that_is_put_off_is_taken_out_of_the_delayed_set(
    queue: Queue, put_off: Callable[..., None]
) -> None:
    put_off(queue, priority=3)
    queue.emit(new_job("b", due=LATER, priority=3))

    assert queue.cancel() == ("cancelled", 1)

    assert list(queue.put_off()) == ["b"]
    assert not queue.redis.hexists(f"{queue.keys.delayed}:envelopes", "a")
    assert reserved(queue) == {"workers:default:3": 1}
    assert (queue.pointer(), result(queue)) == (None, b"1 cancelled cancelled")
    assert (queue.stat("cancelled"), queue.marks()) == (1, (set(), set()))
    assert queue.cancel("b") == ("cancelled", 2)
    assert (reserved(queue), queue.promote()) == ({}, (0, -1))


@PUT_OFF
def test_a_job_that_is_put_off_is_cancelled_once(
    queue: Queue, put_off: Callable[..., None]
) -> None:
    put_off(queue)
    queue.cancel()
    before = queue.snapshot()

    assert queue.cancel() == GONE

    assert queue.snapshot() == before


@PUT_OFF
def test_a_job_whose_envelope_is_gone_is_too_late_to_cancel(
    queue: Queue, put_off: Callable[..., None]
) -> None:
    put_off(queue)
    queue.redis.hdel(f"{queue.keys.delayed}:envelopes", "a")
    before = queue.snapshot()

    assert queue.cancel() == GONE

    assert queue.snapshot() == before
