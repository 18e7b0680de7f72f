"""renew, reclaim, solo and note on real Redis: what only the holder of a delivery may do."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest
from redis.exceptions import ResponseError

from consumers.jobs.lanes import Lane
from consumers.jobs.outcome import Completed
from consumers.store import leasing, noting, tending
from consumers.store.delivery import Delivery
from consumers.store.scripts import Call
from tests.support.queue import GROUP, ME, OTHER, Queue, foreign_value, full_memory, new_job

LEASE_MS = 10_000
LONG_AGO_MS = 60_000
TTL_MS = 60_000


def another_consumer(queue: Queue, delivery: Delivery) -> None:
    queue.hand_over(delivery, OTHER)


def another_consumer_with_the_same_count(queue: Queue, delivery: Delivery) -> None:
    queue.redis.execute_command(
        "XCLAIM", delivery.stream.key, GROUP, OTHER, 0, delivery.entry, "RETRYCOUNT", 1
    )


def the_same_consumer_again(queue: Queue, delivery: Delivery) -> None:
    queue.hand_over(delivery, ME)


def a_group_that_is_gone(queue: Queue, delivery: Delivery) -> None:
    queue.redis.xgroup_destroy(delivery.stream.key, GROUP)


def a_lane_that_is_gone(queue: Queue, delivery: Delivery) -> None:
    queue.redis.delete(delivery.stream.key)


def a_settled_delivery(queue: Queue, delivery: Delivery) -> None:
    queue.settle((delivery, Completed()))


WRONG_FENCES = [
    another_consumer,
    another_consumer_with_the_same_count,
    the_same_consumer_again,
    a_group_that_is_gone,
    a_lane_that_is_gone,
    a_settled_delivery,
]
WRONG_FENCE = pytest.mark.parametrize("taken", WRONG_FENCES)
Taken = Callable[[Queue, Delivery], None]


# Renew


def renew(queue: Queue, *deliveries: Delivery, consumer: str = ME) -> str:
    answer: bytes = queue.run(leasing.renew(queue.keys, consumer, deliveries))
    return answer.decode()


def test_a_renewed_delivery_is_young_again_and_its_count_does_not_grow(queue: Queue) -> None:
    delivery = queue.one()
    queue.age(delivery, LONG_AGO_MS)

    assert renew(queue, delivery) == "1"
    assert renew(queue, delivery) == "1"

    assert queue.idle(delivery) < LONG_AGO_MS
    assert queue.pending(delivery) == (ME, 1)


@WRONG_FENCE
def test_g2_a_delivery_that_is_not_ours_is_not_renewed_and_its_neighbours_are(
    queue: Queue, taken: Taken
) -> None:
    first, delivery = queue.one(new_job("f", priority=9)), queue.one()
    last = queue.one(new_job("l", priority=9))
    taken(queue, delivery)
    for neighbour in (first, last):
        queue.age(neighbour, LONG_AGO_MS)
    before = queue.snapshot()

    assert renew(queue, first, delivery, last) == "101"

    assert queue.snapshot() == before
    assert max(queue.idle(first), queue.idle(last)) < LONG_AGO_MS


@pytest.mark.parametrize("taken", [another_consumer, the_same_consumer_again])
def test_g2_a_refused_renewal_leaves_the_new_holders_lease_alone(
    queue: Queue, taken: Taken
) -> None:
    delivery = queue.one()
    taken(queue, delivery)
    queue.age(delivery, LONG_AGO_MS)

    assert renew(queue, delivery) == "0"

    assert queue.idle(delivery) >= LONG_AGO_MS


def test_g12_leases_are_renewed_in_full_memory(queue: Queue) -> None:
    delivery = queue.one()
    queue.age(delivery, LONG_AGO_MS)

    with full_memory(queue.redis):
        assert renew(queue, delivery) == "1"

    assert queue.idle(delivery) < LONG_AGO_MS


def test_500_deliveries_are_renewed_in_one_call(queue: Queue) -> None:
    queue.emit(*(new_job(f"job-{n}") for n in range(500)))

    assert renew(queue, *queue.deliver()) == "1" * 500


# Reclaim


def sweep(
    queue: Queue,
    *,
    start: str = "-",
    want: int = 1000,
    running: Iterable[str] = (),
    lane: Lane | None = None,
    consumer: str = ME,
    whose: str = "",
) -> tuple[str, int, list[tuple[str, int, list[bytes]]]]:
    """Run one step of a sweep and return cursor, missing and what was taken."""
    call = leasing.reclaim(
        queue.stream(lane), consumer, LEASE_MS, start, want, running, whose=whose
    )
    reply = queue.run(call)
    taken = [(entry, count, fields) for entry, count, fields, _ in leasing.entries_of(reply)]
    return reply[0].decode(), reply[1], taken


def held_by_other(queue: Queue, *ids: str) -> list[Delivery]:
    """Return deliveries to another consumer that were not renewed for a long time."""
    queue.emit(*(new_job(it) for it in ids))
    deliveries = queue.deliver(consumer=OTHER)
    for delivery in deliveries:
        queue.age(delivery, LONG_AGO_MS)
    return deliveries


def test_g7_only_expired_deliveries_are_taken_over_and_their_count_grows(queue: Queue) -> None:
    expired, fresh = held_by_other(queue, "expired", "fresh")
    queue.age(fresh, LEASE_MS // 2)

    cursor, missing, taken = sweep(queue)

    ((entry, count, fields),) = taken
    assert (cursor, missing) == ("", 0)
    assert (entry, count) == (expired.entry, 2)
    assert fields[2:4] == [b"id", b"expired"]
    assert queue.pending(expired) == (ME, 2)
    assert queue.pending(fresh) == (OTHER, 1)
    assert queue.idle(expired) < LEASE_MS


def test_a_second_sweep_right_after_takes_nothing(queue: Queue) -> None:
    held_by_other(queue, "a")
    sweep(queue)
    after = queue.snapshot()

    assert sweep(queue, consumer="a third") == ("", 0, [])

    assert queue.snapshot() == after


def test_g7_our_own_expired_delivery_is_taken_again_unless_we_run_it(queue: Queue) -> None:
    queue.emit(new_job("lost"), new_job("runs"))
    lost, runs = queue.deliver()
    for delivery in (lost, runs):
        queue.age(delivery, LONG_AGO_MS)

    _, _, taken = sweep(queue, running=[runs.entry])

    assert [entry for entry, _, _ in taken] == [lost.entry]
    assert queue.pending(runs) == (ME, 1)


def test_a_sweep_goes_on_from_its_cursor_over_pages_and_then_ends(queue: Queue) -> None:
    deliveries = held_by_other(queue, *(f"job-{n}" for n in range(600)))

    pages, cursor = [], "-"
    while True:
        cursor, _, taken = sweep(queue, start=cursor)
        pages.append([entry for entry, _, _ in taken])
        if not cursor:
            break

    assert [len(page) for page in pages] == [256, 256, 88]
    assert [entry for page in pages for entry in page] == [it.entry for it in deliveries]


def test_a_page_of_fresh_deliveries_does_not_hide_expired_ones_behind_it(queue: Queue) -> None:
    *fresh, expired = held_by_other(queue, *(f"job-{n}" for n in range(300)))
    renew(queue, *fresh, consumer=OTHER)

    cursor, _, nothing = sweep(queue)
    end, _, taken = sweep(queue, start=cursor)

    assert (nothing, end) == ([], "")
    assert cursor == f"({fresh[255].entry}"
    assert [entry for entry, _, _ in taken] == [expired.entry]


def test_of_one_consumer_only_its_own_expired_deliveries_are_taken_over(queue: Queue) -> None:
    *_, expired, fresh = held_by_other(queue, "expired", "fresh")
    (others,) = held_by_other(queue, "others")
    queue.hand_over(others, "a third")
    queue.age(others, LONG_AGO_MS)
    queue.age(fresh, LEASE_MS // 2)

    cursor, _, taken = sweep(queue, whose=OTHER)

    assert cursor == ""
    assert [entry for entry, _, _ in taken] == [expired.entry]


@pytest.mark.parametrize("want", [1, 2, 3])
def test_no_more_is_taken_than_wanted_and_the_next_step_goes_on_behind_it(
    queue: Queue, want: int
) -> None:
    deliveries = held_by_other(queue, "a", "b", "c")

    cursor, _, taken = sweep(queue, want=want)
    _, _, rest = sweep(queue, start=cursor or "-")

    assert [entry for entry, _, _ in taken] == [it.entry for it in deliveries[:want]]
    assert [entry for entry, _, _ in rest] == [it.entry for it in deliveries[want:]]


def test_g13_entries_deleted_by_somebody_else_are_acknowledged_and_counted(queue: Queue) -> None:
    gone, kept, also_gone = held_by_other(queue, "gone", "kept", "also-gone")
    queue.redis.xdel(gone.stream.key, gone.entry, also_gone.entry)

    _, missing, taken = sweep(queue, want=1)
    cursor, more, _ = sweep(queue)

    assert [entry for entry, _, _ in taken] == [kept.entry]
    assert missing + more == 2
    assert (queue.pending(gone), queue.pending(also_gone)) == (None, None)
    assert (queue.stat("missing"), cursor) == (2, "")


def test_the_jobs_of_entries_deleted_by_somebody_else_are_to_be_looked_for(queue: Queue) -> None:
    (gone,) = held_by_other(queue, "gone")
    queue.redis.xdel(gone.stream.key, gone.entry)

    sweep(queue)

    assert queue.redis.hget(queue.keys.meta, "audit") == b"0 workers:default:0"
    while queue.run(tending.audit(queue.keys))[0]:
        pass
    assert (queue.pointer("gone"), queue.stat("vanished")) == (None, 1)


def test_a_sweep_that_takes_all_it_finds_asks_for_no_audit(queue: Queue) -> None:
    held_by_other(queue, "a")

    sweep(queue)

    assert not queue.redis.hexists(queue.keys.meta, "audit")


def test_what_was_taken_over_is_settled_by_its_new_count(queue: Queue) -> None:
    (delivery,) = held_by_other(queue, "a")
    ((_, delivery.count, _),) = sweep(queue)[2]

    assert queue.settle((delivery, Completed()), consumer=OTHER) == ["0"]
    assert queue.settle((delivery, Completed())) == ["1"]


@pytest.mark.parametrize("broken", ["lane", "group"])
def test_a_sweep_of_a_broken_lane_is_an_error_and_changes_nothing(
    queue: Queue, broken: str
) -> None:
    (delivery,) = held_by_other(queue, "a")

    if broken == "lane":
        with foreign_value(queue.redis, delivery.stream.key):
            before = queue.snapshot()
            with pytest.raises(ResponseError, match="WRONGTYPE"):
                sweep(queue)
            assert queue.snapshot() == before
        assert queue.pending(delivery) == (OTHER, 1)
    else:
        queue.redis.xgroup_destroy(delivery.stream.key, GROUP)
        before = queue.snapshot()
        with pytest.raises(ResponseError, match="NOGROUP"):
            sweep(queue)
        assert queue.snapshot() == before
        assert queue.ids() == ["a"]


# Solo


def mark_solo(queue: Queue, delivery: Delivery, runs: int | None = 1, consumer: str = ME) -> int:
    marked: int = queue.run(leasing.solo(delivery, consumer, runs))
    return marked


def test_g5_solo_runs_are_counted_over_deliveries(queue: Queue) -> None:
    delivery = queue.one()
    assert mark_solo(queue, delivery) == 0
    queue.hand_over(delivery, ME)
    delivery.count = 2

    assert mark_solo(queue, delivery, 2) == 1

    assert queue.pointer() == f"1 2 workers:default:0 {delivery.entry}"
    assert queue.pending(delivery) == (ME, 2)


def test_g5_a_solo_run_that_is_recorded_again_is_counted_once(queue: Queue) -> None:
    delivery = queue.one()
    mark_solo(queue, delivery)
    before = queue.snapshot()

    assert mark_solo(queue, delivery) == 1

    assert queue.snapshot() == before


def test_g5_to_ask_for_the_solo_runs_records_none(queue: Queue) -> None:
    delivery = queue.one()
    mark_solo(queue, delivery)
    before = queue.snapshot()

    assert mark_solo(queue, delivery, None) == 1

    assert queue.snapshot() == before


@pytest.mark.parametrize("pointer", [None, "garbage"])
def test_g5_a_solo_run_is_recorded_although_the_index_lost_the_job(
    queue: Queue, pointer: str | None
) -> None:
    delivery = queue.one()
    queue.redis.delete(queue.keys.live("a"))
    if pointer:
        queue.redis.hset(queue.keys.live("a"), "a", pointer)

    assert mark_solo(queue, delivery) == 0

    assert mark_solo(queue, delivery) == 1


def test_g5_of_a_run_whose_id_is_anothers_no_solo_run_is_recorded(queue: Queue) -> None:
    delivery = queue.one()
    other = "7 5 workers:default:0 1-1"
    queue.redis.hset(queue.keys.live("a"), "a", other)

    assert mark_solo(queue, delivery) == -2

    assert queue.redis.hget(queue.keys.live("a"), "a") == other.encode()


@WRONG_FENCE
def test_g2_no_solo_run_is_recorded_for_a_delivery_that_is_not_ours(
    queue: Queue, taken: Taken
) -> None:
    delivery = queue.one()
    taken(queue, delivery)
    before = queue.snapshot()

    assert mark_solo(queue, delivery) == -1

    assert queue.snapshot() == before


# Note

NOTES: dict[str, Callable[..., Call]] = {
    "log": lambda delivery: noting.log(delivery, ME, TTL_MS, "a line"),
    "progress": lambda delivery: noting.progress(delivery, ME, TTL_MS, ["done", 1]),
}
NOTE = pytest.mark.parametrize("note", NOTES.values(), ids=NOTES)


def test_log_lines_are_kept_in_order_with_their_time_and_expire(queue: Queue) -> None:
    delivery = queue.one()
    before = queue.now_ms()
    for line in ("one", "two \N{SNOWMAN}", ""):
        assert queue.run(noting.log(delivery, ME, TTL_MS, line)) == 1

    key = queue.keys.log("a")
    lines = [line.decode().split(" ", 1) for line in queue.redis.lrange(key, 0, -1)]
    assert [text for _, text in lines] == ["one", "two \N{SNOWMAN}", ""]
    times = [before, *(int(at) for at, _ in lines), queue.now_ms()]
    assert times == sorted(times)
    assert 0 < queue.redis.pttl(key) <= TTL_MS


def test_a_log_keeps_its_last_lines(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(noting, "LOG_LINES", 3)
    delivery = queue.one()
    for n in range(5):
        queue.run(noting.log(delivery, ME, TTL_MS, str(n)))

    lines = queue.redis.lrange(queue.keys.log("a"), 0, -1)
    assert [line.split()[1] for line in lines] == [b"2", b"3", b"4"]


def test_progress_is_replaced_field_by_field_and_expires(queue: Queue) -> None:
    delivery = queue.one()
    before = queue.now_ms()
    queue.run(noting.progress(delivery, ME, TTL_MS, ["done", 1, "total", 10]))
    queue.run(noting.progress(delivery, ME, TTL_MS, ["done", 2.5, "note", "half"]))

    key = queue.keys.progress("a")
    found = {k.decode(): v.decode() for k, v in queue.redis.hgetall(key).items()}
    assert before <= int(found.pop("at")) <= queue.now_ms()
    assert found == {"done": "2.5", "total": "10", "note": "half"}
    assert 0 < queue.redis.pttl(key) <= TTL_MS


@NOTE
@WRONG_FENCE
def test_g2_nothing_is_noted_for_a_delivery_that_is_not_ours(
    queue: Queue, note: Callable[..., Call], taken: Taken
) -> None:
    delivery = queue.one()
    taken(queue, delivery)
    before = queue.snapshot()

    assert queue.run(note(delivery)) == 0

    assert queue.snapshot() == before


@NOTE
def test_a_note_renews_the_lease_and_does_not_count_as_a_delivery(
    queue: Queue, note: Callable[..., Call]
) -> None:
    delivery = queue.one()
    queue.age(delivery, LONG_AGO_MS)

    queue.run(note(delivery))

    assert queue.idle(delivery) < LONG_AGO_MS
    assert queue.pending(delivery) == (ME, 1)
