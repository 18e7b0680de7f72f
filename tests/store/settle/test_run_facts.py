"""What is kept of a run beside its end, by the scripts that end one."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from consumers.admin import facts as known_facts
from consumers.admin.dead_letters import letter_about
from consumers.admin.facts import end_of
from consumers.jobs.clauses import read_head
from consumers.jobs.envelope import Envelope
from consumers.jobs.moments import moment
from consumers.jobs.outcome import Buried, Cancelled, Completed, Outcome, Released, RetryAt
from consumers.jobs.run_facts import read_facts
from consumers.store.asking import inspect
from consumers.store.delivery import Delivery
from consumers.store.facts import facts_of, written
from consumers.store.settling import Settlement
from taskmanager.handles.known import info_of
from tests.support.queue import Queue, new_job

ERRORS = b'[{"at":1,"attempt":1,"error":"a b","type":"builtins.OSError"}]'
MORE_ERRORS = b'[{"at":2,"attempt":2,"error":"c","type":"shop.Sold Out"}]'
WORKER = "box.local-0"
CONSUMER = f"{WORKER}.0123456789abcdef"
LONG_MS = 100_000


def run_again(queue: Queue, ms: int, outcome: Outcome) -> Delivery:
    """Let a job's run begin so long after its creation and go back; return the next delivery."""
    (first,) = queue.deliver(consumer=CONSUMER)
    first.started_ms = first.envelope.created_at + ms
    assert queue.settle((first, outcome), consumer=CONSUMER) == ["1"]
    front = isinstance(outcome, Released)
    (again,) = queue.deliver(consumer=CONSUMER, front=front)
    again.started_ms = again.envelope.created_at + ms + 50
    return again


@pytest.mark.parametrize(
    ("outcome", "value"),
    [
        (Completed(b'{"a": "b c"}'), b'{"a": "b c"}'),
        (Cancelled("not wanted"), b"not wanted"),
        (Buried("failed", "Traceback", errors=MORE_ERRORS), None),
    ],
    ids=["complete", "cancel", "bury"],
)
@pytest.mark.parametrize("keeps_data", [True, False])
def test_an_end_has_the_facts_of_its_run_beside_it(
    queue: Queue, outcome: Outcome, value: bytes | None, keeps_data: bool
) -> None:
    queue.emit(new_job("a", "greet", b'{"to": "Ada L"}'))
    again = run_again(queue, 7, RetryAt(0, ERRORS))
    again.keeps_data = keeps_data
    settled, created = Settlement(again, outcome), again.envelope.created_at

    assert queue.settle(settled, consumer=CONSUMER) == ["1"]

    stored = queue.redis.get(queue.keys.result("a"))
    end, facts = end_of(stored), queue.facts()
    assert stored.count(b" ") == 2 + end.value.count(b" ")
    assert end.value == value if value is not None else end.value
    assert (facts.event, facts.worker, facts.created_at) == ("greet", WORKER, created)
    assert (facts.first_started, facts.last_started) == (created + 7, created + 57)
    assert facts.attempts == 2
    assert abs(facts.finished_at - queue.now_ms()) < LONG_MS
    is_dead = isinstance(outcome, Buried)
    assert (facts.errors, facts.error_type) == ((b"", "shop.Sold Out") if is_dead else (ERRORS, ""))
    assert facts.data == (b'{"to": "Ada L"}' if keeps_data else b"")
    # A Redis for results has the same.
    assert read_facts(written(WORKER, facts_of(again, outcome), facts.finished_at)[1:]) == facts


@pytest.mark.parametrize(
    "outcome",
    [RetryAt(0, uses_attempt=False), Released("stop"), RetryAt(60_000, ERRORS)],
    ids=["snooze", "release", "retry later"],
)
def test_when_a_job_began_first_is_kept_with_it(queue: Queue, outcome: Outcome) -> None:
    queue.emit(new_job())
    (first,) = queue.deliver()
    first.started_ms = first.envelope.created_at + 7
    queue.settle((first, outcome))
    queue.make_due("a") if isinstance(outcome, RetryAt) and outcome.delay_ms else None
    queue.promote()

    (again,) = queue.deliver(front=isinstance(outcome, Released))

    assert again.first_started == first.started_ms
    # A run that was not begun, because it was paused or held, changes nothing.
    queue.settle((again, Released("held")))
    (held,) = queue.deliver(front=True)
    assert held.first_started == first.started_ms


def test_a_version_that_does_not_know_when_a_job_began_knows_that_it_has(queue: Queue) -> None:
    queue.emit(new_job("a"))
    again = run_again(queue, 7, RetryAt(0))
    assert queue.settle((again, Released("stop")), consumer=CONSUMER) == ["1"]

    ((_, fields),) = queue.redis.xrange(queue.stream(front=True).key)
    head = fields[b"head"]
    # This is what such a version looks for; what it does not know it keeps.
    assert re.search(rb":r=1(?::|$)", head)
    assert head.count(b":r=") == head.count(b":a=%d" % again.first_started) == 1


@pytest.mark.parametrize("counts", ["1:1:0", "0:1:0:r=1", "2:2:0:r=1"])
def test_the_first_start_of_a_job_that_an_older_version_ran_is_not_known(
    queue: Queue, counts: str
) -> None:
    created = queue.now_ms()
    queue.emit(new_job("a", "greet"))
    (first,) = queue.deliver()
    head = read_head(f"1:1:{created}:{counts}".encode())
    assert head is not None
    *numbers, tail, began = head
    first.envelope = Envelope(
        "a", "greet", b"{}", b"", *numbers, b"[]" if head.failures else b"", tail, began
    )
    first.started_ms = created + 7

    assert first.first_started == 1
    error = f'[{{"attempt":1,"started":{first.started_ms},"type":"builtins.OSError"}}]'
    letter = letter_about(first, Buried("failed", errors=error.encode()))
    assert letter.started_at is None

    queue.settle((first, Completed()))
    answer = queue.run(inspect(queue.keys, "a"))
    info = info_of("default", known_facts.facts_of("default", "a", answer))
    assert info is not None
    assert (info.started_at, info.last_started_at) == (None, moment(first.started_ms))


def test_a_replayed_job_begins_anew(queue: Queue) -> None:
    delivery = queue.one()
    delivery.started_ms = 5_000
    queue.settle((delivery, RetryAt(0)))
    (again,) = queue.deliver()
    queue.settle((again, Buried("failed")))

    queue.replay("a")

    (back,) = queue.deliver()
    assert back.first_started == 1
    back.started_ms = back.envelope.created_at + 3
    assert back.first_started == back.started_ms


@pytest.mark.parametrize("put_off", [True, False])
def test_a_job_that_is_cancelled_while_it_waits_tells_what_it_was(
    queue: Queue, put_off: bool
) -> None:
    queue.emit(new_job("a", "greet"))
    (first,) = queue.deliver()
    first.started_ms = first.envelope.created_at + 7
    queue.settle((first, RetryAt(LONG_MS if put_off else 0, ERRORS)))

    assert queue.cancel() == ("cancelled", 1)

    facts = queue.facts()
    assert (facts.event, facts.worker, facts.attempts) == ("greet", "", 1)
    assert (facts.first_started, facts.last_started) == (first.started_ms, None)
    assert facts.errors == ERRORS
    assert facts.created_at <= facts.finished_at <= queue.now_ms()


@pytest.mark.parametrize("keeps_data", [True, False])
@pytest.mark.parametrize(
    "outcome",
    [RetryAt(0, MORE_ERRORS), Released("stop"), Buried("failed", errors=MORE_ERRORS), Completed()],
    ids=["retry", "release", "bury", "complete"],
)
def test_a_run_that_was_cancelled_under_way_has_its_facts_whatever_it_came_to(
    queue: Queue, outcome: Outcome, keeps_data: bool
) -> None:
    queue.emit(new_job("a", "greet", b'{"to": "Ada L"}'))
    again = run_again(queue, 7, RetryAt(0, ERRORS))
    again.keeps_data = keeps_data
    queue.cancel()

    assert queue.settle((again, outcome), consumer=CONSUMER) == ["C"]

    told = queue.facts()
    # So does a Redis for results, whose worker has heard by then.
    kept = written(WORKER, facts_of(again, Cancelled("cancelled")), told.finished_at)
    assert told == read_facts(kept[1:])
    assert (told.event, told.attempts, told.errors) == ("greet", 2, ERRORS)
    assert told.data == (b'{"to": "Ada L"}' if keeps_data else b"")


@pytest.mark.parametrize(
    ("outcome", "attempts"),
    [
        (Completed(), 2),
        (Buried("failed", errors=MORE_ERRORS), 2),
        (Buried("no_handler"), 1),
        (Cancelled("expired"), 1),
    ],
    ids=["complete", "bury", "no handler", "cancel"],
)
def test_what_middleware_decides_is_an_attempt_even_if_no_handler_was_called(
    queue: Queue, outcome: Outcome, attempts: int
) -> None:
    queue.emit(new_job("a", "greet"))
    again = run_again(queue, 7, RetryAt(0, ERRORS))
    again.started_ms = 0

    queue.settle((again, outcome), consumer=CONSUMER)

    assert queue.facts().attempts == attempts
    assert queue.facts().last_started is None


@pytest.mark.parametrize(
    ("head", "event"),
    [
        ("1:1:5:0:0:0:a=x:r=1", b"e"),
        ("1:1:5:0:0:0:a=99999999999999999999999:r=1", b"e"),
        ("1:1:99:0:0:0:a=5:r=1", b"e"),
        ("1:1:99999999999999999999999:3:0:0", b"e"),
        ("1:1:5:0:0:0", b"a b;c,d\x1ee"),
        ("1:1:5:0:0:0", b"\xff"),
    ],
)
def test_what_somebody_wrote_into_an_entry_does_not_spoil_its_end(
    queue: Queue, head: str, event: bytes
) -> None:
    queue.emit(new_job())
    fields = {"head": head, "id": "a", "event": event, "data": b"{}", "options": b""}
    entry = queue.redis.xadd(queue.stream().key, fields)
    pointer = f"1 0 workers:default:0 {entry.decode()}"
    queue.redis.hset(queue.keys.live("a"), "a", pointer)

    assert queue.cancel() == ("cancelled", 1)

    assert queue.end() == b"1 cancelled cancelled"
    read_facts(end_of(queue.redis.get(queue.keys.result("a"))).kept)


def test_of_what_is_no_name_or_no_job_the_facts_say_nothing(queue: Queue) -> None:
    queue.emit(new_job("a"), new_job("b"))
    strange, foreign = queue.deliver()
    strange.envelope = replace(strange.envelope, event="a b")
    foreign.envelope = replace(foreign.envelope, version=0)

    queue.settle((strange, Completed()), (foreign, Buried("foreign", raw=b"raw")))

    assert queue.facts("a").event == ""
    assert end_of(queue.redis.get(queue.keys.result("b"))).kept == b""
