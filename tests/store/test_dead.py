"""Dead letters on real Redis: bounded, replayed once under a new generation, purged."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from redis.exceptions import ResponseError

from consumers.jobs.bounds import DeadLetterBounds
from consumers.jobs.lanes import MAX_LANES, Lane
from consumers.jobs.outcome import Buried, Completed, Released, RetryAt
from consumers.store import relaying, replaying, tending
from consumers.store.delivery import Delivery
from tests.support.queue import GROUP, Queue, foreign_value, full_memory, new_job
from tests.support.servers import RedisServer

ERRORS = b'[{"error":"x"}]'
DAY_MS = 86_400_000


def bury(queue: Queue, *job_ids: str, bounds: DeadLetterBounds | None = None, **job: Any) -> None:
    """Let jobs die in one batch."""
    queue.emit(*(new_job(job_id, **job) for job_id in job_ids))
    lane = new_job(**{"job_id": "x", **job}).lane
    buried = [(it, Buried("failed", "Traceback", errors=ERRORS)) for it in queue.deliver(lane)]
    queue.settle(*buried, bounds=bounds or DeadLetterBounds())


def ids(queue: Queue) -> list[str]:
    return [letter["job"].decode() for letter in queue.letters()]


def index(queue: Queue) -> dict[str, bytes]:
    found = queue.redis.hgetall(queue.keys.dead_index)
    return {job_id.decode(): entry for job_id, entry in found.items()}


def sizes(queue: Queue) -> int:
    return sum(int(letter["size"]) for letter in queue.letters())


# Bounds


def test_g6_a_letter_keeps_the_payload_the_options_and_the_last_errors(queue: Queue) -> None:
    delivery = queue.one(new_job("a", "e", b"[1]", options=b'{"o":1}', priority=4))
    queue.settle((delivery, RetryAt(0, b'["first"]')))
    (again,) = queue.deliver(delivery.stream.lane)

    queue.settle((again, Buried("failed", "Traceback", errors=b'["first","second"]')))

    (letter,) = queue.letters()
    assert letter["errors"] == b'["first","second"]'
    assert (letter["data"], letter["options"], letter["event"]) == (b"[1]", b'{"o":1}', b"e")
    assert (letter["lane"], letter["group"]) == (b"workers:default:4", GROUP.encode())
    assert letter["head"].split(b":")[3:] == [b"1", b"1", b"0"]
    assert letter["delivered"] == b"1"


@pytest.mark.parametrize("one_by_one", [True, False])
def test_letters_beyond_their_number_are_trimmed_and_counted(
    queue: Queue, one_by_one: bool
) -> None:
    bounds = DeadLetterBounds(most=3)
    for job_ids in list("abcde") if one_by_one else ["abcde"]:
        bury(queue, *job_ids, bounds=bounds)

    assert ids(queue) == ["c", "d", "e"]
    assert set(index(queue)) == {"c", "d", "e"}
    assert (queue.stat("dead"), queue.stat("dead_trimmed")) == (5, 2)
    assert queue.stat("dead_bytes") == sizes(queue)


def test_letters_beyond_their_bytes_are_trimmed_and_counted(queue: Queue) -> None:
    bury(queue, *"abcde", data=b"x" * 1000, bounds=DeadLetterBounds(most_bytes=3500))

    assert ids(queue) == ["c", "d", "e"]
    assert queue.stat("dead_trimmed") == 2
    assert 3000 < queue.stat("dead_bytes") == sizes(queue) <= 3500


def test_a_letter_that_is_larger_than_all_may_be_is_trimmed_itself(queue: Queue) -> None:
    bury(queue, "a", data=b"x" * 1000, bounds=DeadLetterBounds(most_bytes=100))

    assert (ids(queue), index(queue), queue.stat("dead_bytes")) == ([], {}, 0)
    assert (queue.stat("dead"), queue.stat("dead_trimmed")) == (1, 1)


def add_old_letter(queue: Queue, job_id: str, age_ms: int) -> None:
    at = queue.now_ms() - age_ms
    facts = {"job": job_id, "size": 10, "lane": "workers:default:0", "group": GROUP}
    entry = queue.redis.xadd(queue.keys.dead, facts, id=f"{at}-0")
    queue.redis.hset(queue.keys.dead_index, job_id, entry)
    queue.redis.hincrby(queue.keys.stats, "dead_bytes", 10)


def test_letters_that_are_too_old_are_trimmed_and_counted(queue: Queue) -> None:
    add_old_letter(queue, "older", 3 * DAY_MS)
    add_old_letter(queue, "old", 2 * DAY_MS)
    add_old_letter(queue, "young", DAY_MS // 2)

    bury(queue, "a", bounds=DeadLetterBounds(max_age_ms=DAY_MS))

    assert ids(queue) == ["young", "a"]
    assert set(index(queue)) == {"young", "a"}
    assert queue.stat("dead_trimmed") == 2
    assert queue.stat("dead_bytes") == sizes(queue)


def test_a_bound_of_none_keeps_no_letter_and_counts_the_death(queue: Queue) -> None:
    bury(queue, "a", bounds=DeadLetterBounds(most=0))

    assert (ids(queue), index(queue), queue.stat("dead")) == ([], {}, 1)
    assert queue.end() == b"1 dead "
    assert queue.pointer() is None


def test_a_lowered_bound_is_reached_in_bounded_steps(queue: Queue) -> None:
    for first in range(0, 1500, 500):
        bury(queue, *(f"job-{n}" for n in range(first, first + 500)))

    bury(queue, "a", bounds=DeadLetterBounds(most=10))
    assert len(ids(queue)) == 901
    bury(queue, "b", bounds=DeadLetterBounds(most=10))
    bury(queue, "c", bounds=DeadLetterBounds(most=10))

    assert len(ids(queue)) == len(index(queue)) == 10
    assert queue.stat("dead_trimmed") == 1493


def test_a_burial_of_500_at_the_bound_costs_a_bounded_number_of_commands(queue: Queue) -> None:
    bounds = DeadLetterBounds(most=1000)
    costs: list[int] = []

    for batch in range(4):
        before = commands(queue)
        bury(queue, *(f"job-{batch}-{n}" for n in range(500)), bounds=bounds)
        costs.append(commands(queue) - before)

    # Three to emit one, a dozen to bury it, five to drop the oldest for it; and some a batch.
    assert max(costs) <= 22 * 500
    assert len(ids(queue)) == 1000


def commands(queue: Queue) -> int:
    """Return how many commands Redis has run, by clients and within scripts."""
    return sum(it["calls"] for it in queue.redis.info("commandstats").values())


# Replay


def test_a_replayed_job_comes_back_with_a_new_generation_and_a_fresh_budget(queue: Queue) -> None:
    job = new_job("a", "e", b"[1]", options=b'{"o":1}', priority=4)
    delivery = queue.one(job)
    queue.hand_over(delivery, "me")
    delivery.count = 2
    queue.settle((delivery, RetryAt(0, ERRORS)))
    (again,) = queue.deliver(job.lane)
    queue.settle((again, Buried("failed", "Traceback", errors=ERRORS)))

    assert queue.replay("a") == ["+2"]

    (back,) = queue.deliver(job.lane)
    envelope = back.envelope
    assert (envelope.id, envelope.event, envelope.data, envelope.options) == (
        "a", "e", b"[1]", b'{"o":1}',
    )  # fmt: skip
    assert (envelope.failures, envelope.deliveries, envelope.crashes) == (0, 0, 0)
    assert envelope.errors == b""
    assert envelope.created_at >= delivery.envelope.created_at
    assert envelope.first_started == 1
    assert envelope.generation == 2
    assert queue.pointer() == f"2 0 workers:default:4 {back.entry}"
    assert (ids(queue), index(queue), queue.stat("replayed")) == ([], {}, 1)
    assert queue.stat("dead_bytes") == 0


def test_a_letter_goes_in_the_step_in_which_its_job_comes_back(queue: Queue) -> None:
    bury(queue, *"abc")

    assert queue.replay("b", "nobody") == ["+4", "-"]

    assert (ids(queue), set(index(queue)), queue.ids()) == (["a", "c"], {"a", "c"}, ["b"])


def test_g6_a_replay_under_a_new_number_finds_the_job_live(queue: Queue) -> None:
    bury(queue, "a")
    queue.replay("a")
    after = queue.writes()

    assert queue.replay("a") == ["=2"]

    assert queue.writes() == after


def test_g6_the_same_id_twice_in_a_batch_is_replayed_once(queue: Queue) -> None:
    bury(queue, "a")

    assert queue.replay("a", "a") == ["+2", "=2"]

    assert queue.ids() == ["a"]


@pytest.mark.parametrize("due", ["", "+3600000"])
def test_g6_a_replay_is_refused_while_the_id_lives_and_the_letter_stays(
    queue: Queue, due: str
) -> None:
    bury(queue, "a")
    queue.emit(new_job("a", due=due))
    before = queue.writes()

    assert queue.replay("a") == ["=2"]

    assert queue.writes() == before
    assert ids(queue) == ["a"]


@pytest.mark.parametrize("batch", [{"number": 5, "digest": "another"}, {"number": 4}])
def test_a_replay_that_is_not_newer_is_refused_and_writes_nothing(
    queue: Queue, batch: dict[str, Any]
) -> None:
    bury(queue, "a")
    queue.replay(number=5, digest="this")
    before = queue.snapshot()

    with pytest.raises(ResponseError, match="WRITERREFUSED"):
        queue.replay("a", **batch)

    assert queue.snapshot() == before


def test_the_latest_letter_of_an_id_is_replayed(queue: Queue) -> None:
    bury(queue, "a", data=b"1")
    bury(queue, "a", data=b"2")

    assert queue.replay("a") == ["+3"]

    (back,) = queue.deliver()
    assert back.envelope.data == b"2"
    assert [letter["data"] for letter in queue.letters()] == [b"1"]


def test_of_several_letters_of_an_id_each_is_the_latest_once_the_later_ones_have_gone(
    queue: Queue,
) -> None:
    for data in (b"1", b"2", b"3"):
        bury(queue, "a", data=data)
    entries = [entry for entry, _ in queue.redis.xrange(queue.keys.dead)]

    for data, run, left in ((b"3", 4, entries[:2]), (b"2", 5, entries[:1]), (b"1", 6, [])):
        assert queue.replay("a") == [f"+{run}"]
        (back,) = queue.deliver()
        assert back.envelope.data == data
        assert list(index(queue).values()) == left[-1:]
        queue.settle((back, Completed()))

    assert (queue.letters(), queue.replay("a")) == ([], ["-"])


def test_an_older_letter_that_was_trimmed_is_no_latest_one(queue: Queue) -> None:
    bury(queue, "a", data=b"1")
    bury(queue, "a", data=b"2", bounds=DeadLetterBounds(most=1))

    assert queue.replay("a") == ["+3"]

    assert (queue.letters(), index(queue)) == ([], {})


def test_what_stands_before_a_letter_by_somebodys_hand_is_no_letter_of_its_job(
    queue: Queue,
) -> None:
    bury(queue, "b", "a")
    other, _ = queue.redis.xrange(queue.keys.dead)
    for spoiled in (other[0], b"nonsense"):
        queue.redis.hset(queue.keys.dead_index, "a", spoiled)
        bury(queue, "a")
        queue.replay("a")
        assert "a" not in index(queue)
        queue.settle((queue.deliver()[-1], Completed()))


def test_g12_an_older_letter_is_the_latest_again_in_full_memory(queue: Queue) -> None:
    bury(queue, "a", data=b"1")
    bury(queue, "a", data=b"2")
    first = queue.redis.xrange(queue.keys.dead)[0][0]

    with full_memory(queue.redis):
        assert queue.replay("a") == ["+3"]

    assert index(queue) == {"a": first}


def foreign_entry(queue: Queue) -> None:
    delivery = queue.one()
    queue.settle((delivery, Buried("foreign", "why", raw=b"\x00")))


def letter_of_a_stranger(queue: Queue) -> None:
    _index_letter(queue, {"somebody": "else's"})


def letter_without_a_head(queue: Queue) -> None:
    bury(queue, "a")
    fields = queue.letters()[0]
    del fields["head"]
    _index_letter(queue, fields)


def letter_with_a_strange_head(queue: Queue) -> None:
    bury(queue, "a")
    _index_letter(queue, {**queue.letters()[0], "head": "1:x"})


def letter_for_a_strange_lane(queue: Queue) -> None:
    bury(queue, "a")
    _index_letter(queue, {**queue.letters()[0], "lane": "nowhere"})


def _index_letter(queue: Queue, fields: dict[str, Any]) -> None:
    entry = queue.redis.xadd(queue.keys.dead, fields)
    queue.redis.hset(queue.keys.dead_index, "a", entry)


@pytest.mark.parametrize(
    "foreign",
    [
        foreign_entry,
        letter_of_a_stranger,
        letter_without_a_head,
        letter_with_a_strange_head,
        letter_for_a_strange_lane,
    ],
)
def test_g13_a_letter_of_no_job_is_not_replayed_and_stays(
    queue: Queue, foreign: Callable[[Queue], None]
) -> None:
    foreign(queue)
    before = queue.writes()

    assert queue.replay("a") == ["X"]

    assert queue.writes() == before


def test_g14_a_job_that_nobody_handled_comes_back_to_its_events_own_lane(queue: Queue) -> None:
    queue.settle((queue.one(), Released("no handler", event="e")))
    lane = Lane("default", "event.e")
    (delivery,) = queue.deliver(lane, front=True)
    queue.settle((delivery, Buried("no_handler")))
    assert queue.run(tending.retire(queue.keys, lane, -1000)) == 1

    assert queue.replay("a") == ["+2"]

    (back,) = queue.deliver(lane)
    assert back.envelope.generation == 2


def test_g14_fields_of_a_newer_envelope_survive_a_burial_and_a_replay(queue: Queue) -> None:
    queue.emit(new_job("first"))
    fields = {"head": "2:7:1:2:3:4:new", "id": "a", "event": "e", "data": "{}", "options": "",
              "later": "x"}  # fmt: skip
    queue.redis.xadd(queue.stream().key, fields)
    _, delivery = queue.deliver()
    queue.settle((delivery, Buried("crash_loop")))

    assert queue.replay("a") == ["+2"]

    kept = queue.redis.xrange(queue.stream().key)[-1][1]
    created_at = int(kept[b"head"].split(b":")[2])
    assert created_at > 1
    assert {k.decode(): v.decode() for k, v in kept.items()} == {
        **fields,
        "head": f"2:2:{created_at}:0:0:0:r=1:new",
    }


@pytest.mark.parametrize("data", [bytes(range(256)), b"", b"x" * 256 * 1024])
def test_a_payload_comes_back_from_the_dead_byte_for_byte(queue: Queue, data: bytes) -> None:
    bury(queue, "a", data=data, options=data)

    queue.replay("a")

    (delivery,) = queue.deliver()
    assert (delivery.envelope.data, delivery.envelope.options) == (data, data)


def test_the_33rd_lane_is_refused_to_a_replay_and_its_letter_stays(queue: Queue) -> None:
    lane = Lane("default", priority=77)
    bury(queue, "a", priority=77)
    queue.redis.zrem(queue.keys.lanes, lane.name)
    queue.redis.delete(queue.keys.lane(lane), queue.keys.front(lane))
    bury(queue, "b")
    have = queue.redis.zcard(queue.keys.lanes)
    queue.emit(*(new_job(f"lane-{n}", priority=-1 - n) for n in range(MAX_LANES - have)))

    words = queue.replay("a", "b")

    assert words[0] == "L"
    assert words[1].startswith("+")
    assert ids(queue) == ["a"]


def test_a_replay_of_large_letters_goes_in_steps(queue: Queue) -> None:
    names = [f"job-{n}" for n in range(6)]
    bury(queue, *names, data=b"x" * 256 * 1024)

    words = queue.replay(*names)

    assert [word[0] for word in words] == ["+"] * 4 + ["A"] * 2
    assert ids(queue) == names[4:]
    assert [word[0] for word in queue.replay(*names[4:])] == ["+", "+"]


@pytest.mark.parametrize("name", ["lane", "front", "live"])
def test_a_foreign_value_in_its_way_refuses_one_replay_and_no_other(
    queue: Queue, name: str
) -> None:
    lane = Lane("default", priority=5)
    bury(queue, "a", priority=5)
    bury(queue, "b")
    key = {
        "lane": queue.keys.lane(lane),
        "front": queue.keys.front(lane),
        "live": queue.keys.live("a"),
    }[name]
    queue.redis.zrem(queue.keys.lanes, lane.name)

    with foreign_value(queue.redis, key):
        assert queue.replay("a", "b") == [f"T{key}", "+3"]

    assert ids(queue) == ["a"]
    assert queue.replay("a") == ["+4"]


LAST_ID = "18446744073709551615-18446744073709551615"


@pytest.mark.parametrize("last", [99_999_999_999_998, 99_999_999_999_999, 999_999_999_999_990])
def test_a_replay_in_a_queue_of_many_generations_is_a_job_with_its_whole_number(
    queue: Queue, last: int
) -> None:
    key = "i " + "0" * 32
    bury(queue, "a", guard=key)
    queue.redis.hset(queue.keys.meta, "generation", last)

    assert queue.replay("a") == [f"+{last + 1}"]

    (back,) = queue.deliver()
    assert back.envelope.generation == last + 1
    assert queue.pointer() == f"{last + 1} 0 workers:default:0 {back.entry}"
    assert queue.settle((back, Completed())) == ["1"]
    assert queue.redis.pttl(queue.keys.idempotency("0" * 32)) > 0


@pytest.mark.parametrize("put_off", ["foreign", "outbox", "too many lanes"])
def test_letters_that_take_no_more_entries_lose_nothing_that_is_no_job(
    queue: Queue, put_off: str
) -> None:
    queue.redis.xadd(queue.keys.dead, {"x": "y"}, id=LAST_ID)
    if put_off == "foreign":
        queue.emit(new_job("a", due="+3600000"))
        queue.redis.hset(f"{queue.keys.delayed}:envelopes", "a", "no job")
        queue.make_due("a")
        assert queue.promote()[0] == 0
        assert list(queue.put_off()) == ["a"]
    elif put_off == "outbox":
        entry = queue.redis.xadd(queue.keys.outbox, {"x": "y"})
        with pytest.raises(ResponseError, match="WRONGTYPE"):
            queue.run(relaying.quarantine(queue.keys, entry, b"raw", "why"))
        assert queue.redis.xlen(queue.keys.outbox) == 1
    else:
        queue.emit(*(new_job(f"lane-{n}", priority=n) for n in range(MAX_LANES)))
        posted = ["5-1", "workers:default:99", 1, "a", "e", b"", b"", "", ""]
        assert queue.run(relaying.relay(queue.keys, relaying.Outbox("other", "1"), [posted])) == [
            0,
            0,
        ]


def test_a_lane_that_takes_no_more_entries_keeps_the_letter(queue: Queue) -> None:
    bury(queue, "a")
    key = queue.stream().key
    queue.redis.xadd(key, {"x": "y"}, id=LAST_ID)
    before = queue.writes()

    assert queue.replay("a") == [f"T{key}"]

    assert queue.writes() == before


@pytest.mark.parametrize("field", ["replayed", "dead_bytes", "dead_purged", "dead_trimmed", "dead"])
def test_counters_that_are_no_numbers_spoil_no_letter(queue: Queue, field: str) -> None:
    bury(queue, "a", "b")
    queue.redis.hset(queue.keys.stats, field, "somebody else's")

    assert queue.replay("a") == ["+3"]
    assert purge(queue) == (1, False)
    bury(queue, "c", bounds=DeadLetterBounds(most=0))

    assert ids(queue) == []


def test_a_queue_of_another_layout_replays_nothing(queue: Queue) -> None:
    bury(queue, "a")
    queue.redis.hset(queue.keys.meta, "layout", "2")
    before = queue.snapshot()

    with pytest.raises(ResponseError, match="LAYOUT 2 1"):
        queue.replay("a")

    assert queue.snapshot() == before


# Purge


def purge(queue: Queue, older_than_ms: int = 0) -> tuple[int, bool]:
    purged, more = queue.run(replaying.purge(queue.keys, older_than_ms))
    return purged, bool(more)


def test_a_purge_deletes_letters_of_an_age_with_their_index_and_counts_them(queue: Queue) -> None:
    add_old_letter(queue, "old", 2 * DAY_MS)
    bury(queue, "a")

    assert purge(queue, DAY_MS) == (1, False)

    assert (ids(queue), set(index(queue))) == (["a"], {"a"})
    assert (queue.stat("dead_purged"), queue.stat("dead_bytes")) == (1, sizes(queue))
    assert purge(queue, DAY_MS) == (0, False)
    assert purge(queue) == (1, False)
    assert (ids(queue), queue.stat("dead_bytes")) == ([], 0)


def test_a_purge_goes_in_steps(queue: Queue) -> None:
    for first in range(0, 700, 350):
        bury(queue, *(f"job-{n}" for n in range(first, first + 350)))

    assert purge(queue) == (500, True)
    assert purge(queue) == (200, False)


def test_a_purge_of_large_letters_goes_in_steps(queue: Queue) -> None:
    for n in range(6):
        bury(queue, f"job-{n}", data=b"x" * 256 * 1024)

    assert purge(queue) == (4, True)
    assert purge(queue) == (2, False)


def test_letters_of_strangers_are_purged_too(queue: Queue) -> None:
    queue.redis.xadd(queue.keys.dead, {"somebody": "else's"})

    assert purge(queue) == (1, False)

    assert queue.letters() == []


def test_purging_an_older_letter_of_an_id_leaves_its_latest_in_the_index(queue: Queue) -> None:
    add_old_letter(queue, "a", DAY_MS)
    bury(queue, "a")

    purge(queue, DAY_MS // 2)

    assert (ids(queue), set(index(queue))) == (["a"], {"a"})


# A job's whole life


def delayed(queue: Queue, delivery: Delivery) -> None:
    queue.settle((delivery, RetryAt(3_600_000, ERRORS)))
    queue.make_due(delivery.envelope.id)
    queue.promote()


def again_at_once(queue: Queue, delivery: Delivery) -> None:
    queue.settle((delivery, RetryAt(0, ERRORS)))


def handed_back(queue: Queue, delivery: Delivery) -> None:
    queue.settle((delivery, Released("stop")))


def dead_and_replayed(queue: Queue, delivery: Delivery) -> None:
    queue.settle((delivery, Buried("failed")))
    queue.replay(delivery.envelope.id)


def dead_and_purged(queue: Queue, delivery: Delivery) -> None:
    queue.settle((delivery, Buried("failed")))
    purge(queue)


@pytest.mark.parametrize(
    "step", [delayed, again_at_once, handed_back, dead_and_replayed, dead_and_purged]
)
def test_the_lag_of_a_group_stays_known(
    queue: Queue, server: RedisServer, step: Callable[[Queue, Delivery], None]
) -> None:
    if server.version < (7, 0):
        pytest.skip("Redis 6.2 has no lag")
    queue.emit(*(new_job(it) for it in "abcd"))
    first, second, *_ = queue.deliver(count=2)

    for delivery in (first, second):
        step(queue, delivery)
        assert None not in queue.lags()

    more = queue.deliver()
    assert None not in queue.lags()
    for delivery in more:
        step(queue, delivery)
    assert None not in queue.lags()
    assert sum(lag or 0 for lag in queue.lags()) == len(queue.ids()) + len(queue.ids(front=True))


HOUR_MS = 3_600_000


def letters_of_two(queue: Queue) -> None:
    queue.emit(new_job("a"), new_job("b"))
    queue.settle(*((it, Buried("failed")) for it in queue.deliver()))


def look(queue: Queue, every_ms: int = HOUR_MS, age_ms: int = 0) -> int:
    """Look for old letters as a janitor does, in turn; return how many were deleted."""
    purged, _ = queue.run(replaying.purge(queue.keys, age_ms, every_ms=every_ms))
    return int(purged)


def test_of_many_workers_one_looks_for_old_letters(queue: Queue) -> None:
    letters_of_two(queue)

    assert look(queue) == 2
    letters_of_two(queue)
    assert [look(queue) for _ in range(3)] == [0, 0, 0]

    assert queue.redis.xlen(queue.keys.dead) == 2


def test_where_there_are_more_old_letters_whoever_comes_next_goes_on(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replaying, "BATCH_ITEMS", 1)
    letters_of_two(queue)

    assert [look(queue) for _ in range(3)] == [1, 1, 0]


def test_a_worker_that_keeps_letters_for_long_takes_no_turn_of_one_that_does_not(
    queue: Queue,
) -> None:
    letters_of_two(queue)

    assert look(queue, age_ms=HOUR_MS) == 0
    assert look(queue) == 2


@pytest.mark.parametrize("last", ["0", "somebody else's", "99999999999999", "nan"])
def test_a_turn_that_is_old_spoiled_or_ahead_is_nobodys(queue: Queue, last: str) -> None:
    letters_of_two(queue)
    queue.redis.hset(queue.keys.meta, "turn.letters.0", last)

    assert look(queue) == 2
    taken = int(queue.redis.hget(queue.keys.meta, "turn.letters.0") or 0)
    assert 0 <= queue.now_ms() - taken < HOUR_MS


def test_a_look_at_a_queue_that_is_gone_does_not_begin_it(queue: Queue) -> None:
    assert look(queue) == 0

    assert queue.redis.exists(queue.keys.meta) == 0
