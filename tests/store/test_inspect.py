"""inspect.lua on real Redis: every state of a job, and waiters that are told of its end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from consumers.admin.facts import End, Facts, facts_of
from consumers.jobs.outcome import Buried, Cancelled, Completed, Outcome, Released, RetryAt
from consumers.store import asking
from tests.support.queue import ME, Queue, foreign_value, full_memory, new_job
from tests.support.waiting import PATIENCE

CHANNEL = "tm:{default}:results:me"
OTHERS_CHANNEL = "tm:{default}:results:other"
HOUR_MS = 3_600_000
ERRORS = b'[{"at":1,"attempt":1,"delivery":1,"error":"x"}]'


def look(queue: Queue, job_id: str = "a", **waiter: Any) -> Facts:
    call = asking.inspect(queue.keys, job_id, **waiter)
    return facts_of("default", job_id, queue.run(call))


def wait(queue: Queue, job_id: str = "a", channel: str = CHANNEL) -> Facts:
    return look(queue, job_id, channel=channel, waiter_ttl_ms=HOUR_MS)


# States


def test_an_unknown_job_is_unknown_and_looking_changes_nothing(queue: Queue) -> None:
    before = queue.snapshot()

    facts = wait(queue)

    assert (facts.state, facts.generation, facts.end, facts.letter) == ("unknown", None, None, None)
    assert queue.snapshot() == before


def test_a_waiting_job(queue: Queue) -> None:
    queue.emit(new_job("a", "e", b"[1]", options=b'{"o":1}', priority=3))

    facts = look(queue)

    assert (facts.state, facts.generation, facts.place) == ("waiting", 1, "workers:default:3")
    assert facts.envelope is not None
    assert (facts.envelope.data, facts.envelope.options) == (b"[1]", b'{"o":1}')
    assert (facts.consumer, facts.delivered, facts.due_ms) == ("", 0, None)


def test_a_running_job_is_held_by_its_consumer(queue: Queue) -> None:
    queue.hand_over(queue.one(), ME)

    facts = look(queue)

    assert (facts.state, facts.consumer, facts.delivered) == ("running", ME, 2)


@pytest.mark.parametrize("group", ["a-monitor", "z-monitor"])
def test_a_group_that_only_reads_along_holds_no_job(queue: Queue, group: str) -> None:
    queue.one(new_job("runs"))
    queue.emit(new_job("waits"))
    queue.read_along(group)

    runs, waits = look(queue, "runs"), look(queue, "waits")

    assert (runs.state, runs.consumer, runs.delivered) == ("running", ME, 1)
    assert (waits.state, waits.consumer, waits.delivered) == ("waiting", "", 0)


def test_a_job_that_was_handed_back_waits_in_its_lanes_front(queue: Queue) -> None:
    queue.settle((queue.one(), Released("stop")))

    facts = look(queue)

    assert (facts.state, facts.place) == ("waiting", "workers:default:0:front")


def test_a_job_that_waits_for_a_worker_that_knows_its_event(queue: Queue) -> None:
    queue.settle((queue.one(), Released("no handler", event="e")))

    assert look(queue).place == "event.e:default:0:front"


def test_a_delayed_job_tells_when_it_is_due(queue: Queue) -> None:
    queue.emit(new_job("a", data=b"[1]", due=f"+{HOUR_MS}"))

    facts = look(queue)

    assert (facts.state, facts.due_ms) == ("delayed", queue.put_off()["a"])
    assert facts.envelope is not None
    assert facts.envelope.data == b"[1]"


def test_a_retrying_job_tells_when_it_is_due_and_its_errors(queue: Queue) -> None:
    queue.settle((queue.one(), RetryAt(HOUR_MS, ERRORS)))

    facts = look(queue)

    assert (facts.state, facts.due_ms, facts.generation) == ("retrying", queue.put_off()["a"], 1)
    assert facts.envelope is not None
    assert (facts.envelope.failures, facts.envelope.errors) == (1, ERRORS)


def test_a_completed_job_has_the_end_of_its_run(queue: Queue) -> None:
    queue.settle((queue.one(), Completed(b'{"a b":1}')))

    facts = look(queue)

    assert (facts.state, facts.generation) == ("completed", None)
    assert facts.end == End(1, "completed", b'{"a b":1}')


def test_a_cancelled_job_has_its_reason(queue: Queue) -> None:
    queue.settle((queue.one(), Cancelled("not wanted any more")))

    facts = look(queue)

    assert (facts.state, facts.end) == ("cancelled", End(1, "cancelled", b"not wanted any more"))


def test_a_dead_job_has_its_letter(queue: Queue) -> None:
    queue.settle((queue.one(), Buried("failed", "Traceback", errors=ERRORS)))

    facts = look(queue)

    assert facts.state == "dead"
    assert facts.letter is not None
    assert (facts.letter.id, facts.letter.reason, facts.letter.error) == (
        "a",
        "failed",
        "Traceback",
    )
    assert facts.letter.errors == [{"at": 1, "attempt": 1, "delivery": 1, "error": "x"}]
    assert facts.end == End(1, "dead", facts.letter.entry.encode())


def test_a_dead_job_whose_result_expired_is_dead_by_its_letter(queue: Queue) -> None:
    queue.settle((queue.one(), Buried("failed")), result_ttl_ms=0)

    facts = look(queue)

    assert (facts.state, facts.end) == ("dead", None)


def test_a_second_run_is_told_from_the_first(queue: Queue) -> None:
    queue.settle((queue.one(), Completed(b"1")))
    queue.emit(new_job("a"))

    facts = look(queue)

    assert (facts.state, facts.generation, facts.end) == ("waiting", 2, End(1, "completed", b"1"))


def test_a_job_that_completed_after_it_had_died_is_completed(queue: Queue) -> None:
    queue.settle((queue.one(), Buried("failed")))
    queue.settle((queue.one(new_job("a")), Completed(b"2")))

    facts = look(queue)

    assert (facts.state, facts.end) == ("completed", End(2, "completed", b"2"))
    assert facts.letter is not None


def test_a_replayed_job_waits_and_has_no_letter(queue: Queue) -> None:
    queue.settle((queue.one(), Buried("failed")))
    queue.replay("a")

    facts = look(queue)

    assert (facts.state, facts.generation, facts.letter) == ("waiting", 2, None)


POINTERS = ["garbage", "", "1 0 workers:default:0 1-1", "1 0 delayed 5", "1 0 nowhere:x:0 1-1"]


@pytest.mark.parametrize("pointer", POINTERS)
def test_a_stale_pointer_is_no_job(queue: Queue, pointer: str) -> None:
    queue.redis.hset(queue.keys.live("a"), "a", pointer)

    assert wait(queue).state == "unknown"

    assert not queue.redis.exists(queue.keys.waiters)


def test_a_job_behind_a_foreign_lane_is_unknown_meanwhile(queue: Queue) -> None:
    queue.emit(new_job("a"))

    with foreign_value(queue.redis, queue.stream().key):
        assert look(queue).state == "unknown"

    assert look(queue).state == "waiting"


# Waiters


@pytest.fixture
def heard(queue: Queue) -> Iterator[list[str]]:
    """What is told on our channel; filled when it is looked at with hear()."""
    with queue.redis.pubsub(ignore_subscribe_messages=True) as listener:
        listener.subscribe(CHANNEL)
        listener.get_message(timeout=PATIENCE)
        yield _Heard(listener)


class _Heard(list[str]):
    def __init__(self, listener: Any) -> None:
        super().__init__()
        self._listener = listener

    def hear(self, timeout: float = 0.05) -> list[str]:
        while message := self._listener.get_message(timeout=timeout):
            self.append(message["data"].decode())
        return self


def waiters(queue: Queue) -> dict[str, str]:
    found = queue.redis.hgetall(queue.keys.waiters)
    return {job_id.decode(): channels.decode() for job_id, channels in found.items()}


def test_a_waiter_is_registered_in_the_step_that_finds_the_job_live(queue: Queue) -> None:
    queue.emit(new_job("a"))

    assert wait(queue).generation == 1

    assert waiters(queue) == {"a": CHANNEL}
    assert 0 < queue.redis.pttl(queue.keys.waiters) <= HOUR_MS


def test_a_waiter_is_registered_once_and_several_side_by_side(queue: Queue) -> None:
    queue.emit(new_job("a"))

    for channel in (CHANNEL, OTHERS_CHANNEL, CHANNEL):
        wait(queue, channel=channel)

    assert waiters(queue) == {"a": f"{CHANNEL} {OTHERS_CHANNEL}"}


def test_of_more_waiters_than_are_kept_the_latest_are(queue: Queue) -> None:
    queue.emit(new_job("a"))
    channels = [f"tm:{{default}}:results:{n}" for n in range(103)]

    for channel in channels:
        wait(queue, channel=channel)

    assert waiters(queue) == {"a": " ".join(channels[-100:])}


def leave(queue: Queue, job_id: str = "a", channel: str = CHANNEL) -> int:
    taken_out: int = queue.run(asking.forget_waiter(queue.keys, job_id, channel))
    return taken_out


def test_a_waiter_that_leaves_is_taken_out_and_the_others_stay(queue: Queue) -> None:
    queue.emit(new_job("a"))
    for channel in (CHANNEL, OTHERS_CHANNEL):
        wait(queue, channel=channel)

    assert [leave(queue), leave(queue)] == [1, 0]
    assert waiters(queue) == {"a": OTHERS_CHANNEL}
    assert leave(queue, channel=OTHERS_CHANNEL) == 1
    assert waiters(queue) == {}


def test_who_only_looks_is_not_registered(queue: Queue) -> None:
    queue.emit(new_job("a"))

    look(queue)

    assert waiters(queue) == {}


ENDS: list[tuple[Outcome, str]] = [
    (Completed(b'{"a b":1}'), 'completed {"a b":1}'),
    (Cancelled("not wanted"), "cancelled not wanted"),
    (Buried("failed"), "dead "),
]


@pytest.mark.parametrize(("outcome", "told"), ENDS)
@pytest.mark.parametrize("ttl_ms", [0, 60_000])
def test_a_waiter_is_told_by_the_settle_and_forgotten(
    queue: Queue, heard: Any, outcome: Outcome, told: str, ttl_ms: int
) -> None:
    delivery = queue.one()
    wait(queue)

    queue.settle((delivery, outcome), result_ttl_ms=ttl_ms)

    (message,) = heard.hear()
    if outcome == Buried("failed"):
        told += queue.redis.hget(queue.keys.dead_index, "a").decode()
    assert message.endswith(f"a 1 {told}")
    assert waiters(queue) == {}


@pytest.mark.parametrize("outcome", [RetryAt(0), RetryAt(HOUR_MS), Released("stop")])
def test_a_waiter_stays_while_the_job_goes_on(queue: Queue, heard: Any, outcome: Outcome) -> None:
    delivery = queue.one()
    wait(queue)

    queue.settle((delivery, outcome))

    assert heard.hear() == []
    assert waiters(queue) == {"a": CHANNEL}


def test_a_settle_that_was_fenced_off_tells_nobody(queue: Queue, heard: Any) -> None:
    delivery = queue.one()
    wait(queue)
    queue.hand_over(delivery)

    assert queue.settle((delivery, Completed())) == ["0"]

    assert heard.hear() == []
    assert waiters(queue) == {"a": CHANNEL}


def test_each_of_several_waiting_processes_is_told(queue: Queue, heard: Any) -> None:
    delivery = queue.one()
    with queue.redis.pubsub(ignore_subscribe_messages=True) as other:
        other.subscribe(OTHERS_CHANNEL)
        other.get_message(timeout=PATIENCE)
        wait(queue)
        wait(queue, channel=OTHERS_CHANNEL)

        queue.settle((delivery, Completed(b"1")))

        message = other.get_message(timeout=PATIENCE)
        assert message is not None
        assert [message["data"].decode()] == heard.hear()


def test_a_repeated_settle_tells_once(queue: Queue, heard: Any) -> None:
    delivery = queue.one()
    wait(queue)

    queue.settle((delivery, Completed(b"1")), number=50)
    queue.settle((delivery, Completed(b"1")), number=50)

    assert len(heard.hear()) == 1


def test_who_asks_after_the_end_is_not_registered(queue: Queue) -> None:
    queue.settle((queue.one(), Completed(b"1")))

    assert wait(queue).state == "completed"

    assert waiters(queue) == {}


def test_g12_in_full_memory_a_job_is_found_and_its_waiter_is_told_or_looks_again(
    queue: Queue, heard: Any
) -> None:
    delivery = queue.one()
    queue.emit(new_job("b"))
    wait(queue)

    with full_memory(queue.redis):
        assert wait(queue, "b").state == "waiting"
        queue.settle((delivery, Completed(b"1")))

    assert waiters(queue) == {}
    assert len(heard.hear()) == 1
