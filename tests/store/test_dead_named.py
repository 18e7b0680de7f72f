"""Dead letters in a stream that the queue's properties name, on real Redis."""

from __future__ import annotations

from consumers.jobs.bounds import DeadLetterBounds
from consumers.jobs.outcome import Buried
from consumers.store import asking, replaying
from tests.store.lanes.steps import name_dead, open_queue
from tests.support.queue import Queue, foreign_value, new_job


def bury(queue: Queue, *job_ids: str, bounds: DeadLetterBounds | None = None) -> list[str]:
    """Let jobs die in one batch; return the words of the settle."""
    queue.emit(*(new_job(job_id) for job_id in job_ids))
    buried = [(it, Buried("failed", "Traceback")) for it in queue.deliver()]
    return queue.settle(*buried, bounds=bounds or DeadLetterBounds())


def letters(queue: Queue, name: str) -> list[str]:
    """Return the ids of the letters in a named stream, oldest first."""
    found = queue.redis.xrange(queue.keys.dead_named(name.encode()))
    return [fields[b"job"].decode() for _, fields in found]


def test_letters_are_kept_shown_trimmed_replayed_and_purged_in_a_named_stream(queue: Queue) -> None:
    assert name_dead(queue, "x") == "x"

    bury(queue, "a", "b", "c", bounds=DeadLetterBounds(most=2))

    assert letters(queue, "x") == ["b", "c"]
    assert set(queue.redis.hgetall(queue.keys.dead_index)) == {b"b", b"c"}
    *_, letter, entry, _ = queue.run(asking.inspect(queue.keys, "c"))
    assert (letter[:2], entry) == ([b"job", b"c"], queue.redis.hget(queue.keys.dead_index, "c"))
    (word,) = queue.replay("b")
    assert (word[0], letters(queue, "x")) == ("+", ["c"])
    assert queue.run(replaying.purge(queue.keys, 0)) == [1, 0]
    assert (letters(queue, "x"), queue.redis.exists(queue.keys.dead)) == ([], 0)
    assert int(queue.redis.hget(queue.keys.stats, "dead_bytes")) == 0


def test_a_stream_with_letters_stays_that_of_its_queue_until_they_have_gone(queue: Queue) -> None:
    open_queue(queue)
    bury(queue, "a")

    assert name_dead(queue, "x") == ""
    queue.replay("a")
    assert name_dead(queue, "x") == "x"
    # Whoever names none leaves it as it is.
    open_queue(queue)
    bury(queue, "b")
    assert name_dead(queue, "y") == "x"

    assert letters(queue, "x") == ["a", "b"]


def test_a_foreign_value_under_the_name_keeps_jobs_from_being_buried(queue: Queue) -> None:
    name_dead(queue, "x")
    key = queue.keys.dead_named(b"x")

    with foreign_value(queue.redis, key):
        assert bury(queue, "a") == [f"T{key}"]

    assert queue.redis.exists(queue.keys.dead) == 0
