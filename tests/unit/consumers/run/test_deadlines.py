"""One timer for all timeouts, and no memory of jobs that ended in time."""

from __future__ import annotations

import asyncio

from consumers.jobs.envelope import Envelope
from consumers.jobs.lanes import Lane
from consumers.run.deadlines import Deadlines
from consumers.store.delivery import Delivery, Stream
from consumers.store.keys import Keys
from tests.support.waiting import aeventually


def delivery(name: str) -> Delivery:
    stream = Stream(Keys("default"), Lane("default"), "workers", front=False)
    return Delivery(stream, name, 1, Envelope(name, "e", b"", b"", 1, 1, 1, 0, 0, 0), 0.0)


async def test_deliveries_are_due_in_the_order_of_their_deadlines() -> None:
    due: list[str] = []
    deadlines = Deadlines(lambda it: due.append(it.entry), counts=lambda _: True)
    for name, seconds in [("c", 0.06), ("a", 0.02), ("b", 0.04)]:
        deadlines.add(delivery(name), seconds)

    await aeventually(lambda: len(due) == 3)

    assert due == ["a", "b", "c"]
    assert len(deadlines) == 0


async def test_what_counts_no_more_is_not_due() -> None:
    due: list[str] = []
    kept, ended = delivery("kept"), delivery("ended")
    deadlines = Deadlines(lambda it: due.append(it.entry), counts=lambda it: it is kept)
    deadlines.add(ended, 0.01)
    deadlines.add(kept, 0.02)

    await aeventually(lambda: due == ["kept"])


async def test_deadlines_of_jobs_that_ended_in_time_are_not_kept_for_an_hour() -> None:
    running: set[Delivery] = set()
    most = asked = 0

    def counts(it: Delivery) -> bool:
        nonlocal asked
        asked += 1
        return it in running

    deadlines = Deadlines(lambda _: None, counts=counts)
    for n in range(20_000):
        one = delivery(str(n))
        running.add(one)
        deadlines.add(one, 3600.0)
        if n % 10:
            running.discard(one)
        most = max(most, len(deadlines))
    deadlines.close()

    assert most <= 2 * len(running) + 1024
    # Each sweep is over twice what the one before left: not over all of them each time.
    assert asked <= 2 * 20_000


async def test_after_close_nobody_is_called() -> None:
    due: list[str] = []
    deadlines = Deadlines(lambda it: due.append(it.entry), counts=lambda _: True)
    deadlines.add(delivery("a"), 0.01)

    deadlines.close()
    await asyncio.sleep(0.05)  # past the deadline

    assert due == []
