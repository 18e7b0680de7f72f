"""settle.lua on real Redis: buried jobs keep every field, within bounds."""

from __future__ import annotations

from consumers.jobs.bounds import DeadLetterBounds
from consumers.jobs.outcome import Buried
from consumers.store.delivery import delivery_of
from tests.support.queue import GROUP, ME, Queue, new_job


def test_a_buried_job_keeps_every_field_and_is_found_by_its_id(queue: Queue) -> None:
    delivery = queue.one(new_job("a", "e", b'{"n":1}', options=b'{"o":1}', priority=4))

    assert queue.settle((delivery, Buried("failed", "Traceback ..."))) == ["1"]

    ((entry, letter),) = queue.redis.xrange(queue.keys.dead)
    assert queue.redis.hgetall(queue.keys.dead_index) == {b"a": entry}
    assert {name.decode(): value for name, value in letter.items()} == {
        "job": b"a",
        "size": str(size_of(letter)).encode(),
        "lane": b"workers:default:4",
        "group": b"workers",
        "reason": b"failed",
        "error": b"Traceback ...",
        "errors": b"",
        "delivered": b"1",
        "head": f"1:1:{delivery.envelope.created_at}:0:0:0".encode(),
        "id": b"a",
        "event": b"e",
        "data": b'{"n":1}',
        "options": b'{"o":1}',
    }
    assert queue.ids(delivery.stream.lane) == []
    assert list(letter)[:4] == [b"job", b"size", b"lane", b"group"]
    assert (queue.pointer(), queue.stat("dead")) == (None, 1)
    assert queue.stat("dead_bytes") == size_of(letter)
    assert queue.end() == b"1 dead " + entry


def size_of(letter: dict[bytes, bytes]) -> int:
    """What a letter counts for: its facts, without the four fields before them."""
    facts = dict(letter)
    for field in (b"job", b"size", b"lane", b"group"):
        del facts[field]
    return sum(len(name) + len(value) for name, value in facts.items())


def test_g13_a_buried_foreign_entry_keeps_its_raw_bytes(queue: Queue) -> None:
    delivery = queue.one()

    assert queue.settle((delivery, Buried("foreign", "why", raw=b"\x00\xff"))) == ["1"]

    ((_, letter),) = queue.redis.xrange(queue.keys.dead)
    assert letter[b"raw"] == b"\x00\xff"
    assert b"data" not in letter


def test_g13_a_foreign_entry_of_thousands_of_fields_is_buried_raw_for_whatever_reason(
    queue: Queue,
) -> None:
    queue.one()
    fields = [part for n in range(5000) for part in (b"field-%d" % n, b"x")]
    entry = queue.redis.execute_command("XADD", queue.stream().key, "*", *fields)
    queue.redis.xreadgroup(GROUP, ME, {queue.stream().key: ">"})
    delivery = delivery_of(queue.stream(), entry.decode(), 1, fields, 0.0)

    assert queue.settle((delivery, Buried("no_handler", "nobody"))) == ["1"]

    ((_, letter),) = queue.redis.xrange(queue.keys.dead)
    assert letter[b"raw"] == delivery.envelope.data
    assert letter[b"raw"].startswith(b"7:field-0,1:x,")


def test_dead_letters_are_trimmed_at_their_bound_with_their_index(queue: Queue) -> None:
    queue.emit(*(new_job(it) for it in "abcde"))
    buried = [(it, Buried("failed")) for it in queue.deliver()]

    queue.settle(*buried, bounds=DeadLetterBounds(most=3))

    assert [it[b"job"] for _, it in queue.redis.xrange(queue.keys.dead)] == [b"c", b"d", b"e"]
    assert set(queue.redis.hgetall(queue.keys.dead_index)) == {b"c", b"d", b"e"}
    assert (queue.stat("dead"), queue.stat("dead_trimmed")) == (5, 2)


def test_trimming_an_older_letter_of_an_id_leaves_its_latest_in_the_index(queue: Queue) -> None:
    bounds = DeadLetterBounds(most=2)
    queue.redis.xadd(queue.keys.dead, {"somebody": "else's"})
    for _ in range(2):
        queue.settle((queue.one(new_job("a")), Buried("failed")), bounds=bounds)
    queue.settle((queue.one(new_job("b")), Buried("failed")), bounds=bounds)

    (entry_a, _), (entry_b, _) = queue.redis.xrange(queue.keys.dead)
    assert queue.redis.hgetall(queue.keys.dead_index) == {b"a": entry_a, b"b": entry_b}


def test_a_job_whose_entry_was_deleted_can_be_buried(queue: Queue) -> None:
    delivery = queue.one()
    queue.redis.xdel(delivery.stream.key, delivery.entry)

    assert queue.settle((delivery, Buried("missing", "deleted"))) == ["1"]

    ((_, letter),) = queue.redis.xrange(queue.keys.dead)
    assert (letter[b"job"], letter[b"reason"]) == (b"a", b"missing")
    assert queue.pointer() is None
