"""What a worker tells of when its jobs began."""

from __future__ import annotations

from consumers.jobs.envelope import Envelope
from consumers.jobs.lanes import Lane
from consumers.run.starts import starts_of
from consumers.store.delivery import Delivery, Stream
from consumers.store.keys import Keys

ADDED_MS = 1_700_000_000_000


def delivery(number: int, started_ms: int) -> Delivery:
    queue = "mail" if number % 2 else "default"
    stream = Stream(Keys(queue), Lane(queue), "workers", front=False)
    envelope = Envelope(f"j{number}", "e", b"{}", b"", 1, number, ADDED_MS, 0, 0, 0)
    found = Delivery(stream, f"{ADDED_MS}-{number}", 1, envelope, 0.0)
    found.started_ms = started_ms
    return found


def test_it_is_bounded_and_tells_of_those_that_run_for_the_longest() -> None:
    # The first waits in middleware.
    running = [delivery(0, 0), *(delivery(number, ADDED_MS + number) for number in range(1, 300))]

    told = starts_of(running)

    assert told["mail"] == {f"j{it}": ADDED_MS + it for it in range(1, 201, 2)}
    assert told["default"] == {f"j{it}": ADDED_MS + it for it in range(2, 201, 2)}


def test_none_began_before_its_entry_was_there() -> None:
    assert starts_of([delivery(2, ADDED_MS - 9)]) == {"default": {"j2": ADDED_MS}}
