"""The checker sees what is wrong in a history made by hand, and nothing where all is well."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.chaos.checks import counts, losses
from tests.chaos.history import ENDS, History
from tests.chaos.snapshot import End, Snapshot, letter_of, misheld
from tests.chaos.story import FIRST, LOSSY, W1, W2, Story, completed, letter
from tests.chaos.workload import KINDS, LINE, OTHER, SPOILED, WORK


def test_a_job_that_was_run_once_is_fine() -> None:
    assert Story().emitted().run(W1, "completed").found(Snapshot([completed(W1)])) == []


def test_an_acknowledged_job_without_an_end_is_lost() -> None:
    story = Story().emitted()

    assert story.found() == ["lost"]
    assert story.run(W1).found() == ["lost"]
    assert Story().note("try").note("unknown").found() == []


def test_a_job_whose_worker_died_before_it_could_write_its_verdict_is_not_lost() -> None:
    assert Story().emitted().run(W1).found(Snapshot([completed(W1)])) == []
    story = doomed().note("start", W1, event="doomed", generation=1, delivery=2, attempt=2)
    assert story.found(Snapshot([letter()])) == []


def doomed() -> Story:
    """A job that has failed once and has one retry."""
    return Story().emitted(event="doomed").failed(W1, "ValueError", event="doomed")


def test_what_was_never_emitted_or_was_refused_must_not_run() -> None:
    assert Story().run(W1, "completed").found() == ["unexpected"]
    assert Story().note("try").note("refused").run(W1, "completed").found() == ["unexpected"]
    assert Story().note("try").note("not_sent").run(W1, "completed").found() == ["unexpected"]
    # One of two tries was stored.
    story = Story().note("try").note("not_sent").note("try").note("unknown")
    assert story.run(W1, "completed").found() == []


def test_two_recorded_ends_of_one_generation_are_one_too_many() -> None:
    story = Story().emitted().fault("pause", "worker-1", 4.0).run(W1, "completed")
    story.run(W2, "completed", delivery=2)

    assert story.found(Snapshot([completed(W2, 2)])) == ["committed twice"]
    assert story.violations(None)[0].check == "committed twice"


def test_two_runs_of_which_one_was_refused_are_fine() -> None:
    story = Story().emitted().fault("pause", "worker-1", 4.0).run(W1)
    story.run(W2, "completed", delivery=2).note("fenced", W1, generation=1, delivery=1)

    assert story.found(Snapshot([completed(W2, 2)])) == []
    assert counts(History(story.records))["duplicate runs"] == 1


def test_who_was_told_that_it_was_fenced_must_not_find_its_result_stored() -> None:
    story = Story().emitted().run(W1, "fenced")

    assert story.found(Snapshot([completed(W1)])) == ["fenced but recorded"]
    # Delivered to it again as if for the first time: its group was lost meanwhile.
    story.fault("destroy-group").run(W1, "completed")
    assert story.found(Snapshot([completed(W1)])) == []


def test_what_was_fenced_while_it_was_held_may_run_afterwards() -> None:
    """Its group was lost before it began (seed 2 on 6.2)."""
    story = Story().emitted().fault("destroy-group").note("fenced", W1, generation=1, delivery=1)
    story.run(W1, "completed")

    assert story.found(Snapshot([completed(W1)])) == []


def test_done_and_dead_at_once_is_a_violation() -> None:
    snapshot = Snapshot([completed(W1), letter()])

    assert "two states" in Story().emitted().run(W1, "completed").found(snapshot)


@pytest.mark.parametrize(
    ("event", "verdict", "detail", "found"),
    [
        ("quick", "dead", "failed", ["wrong state"]),
        ("quick", "cancelled", "", ["wrong state"]),
        ("doomed", "completed", "", ["wrong state"]),
        ("doomed", "dead", "failed", ["wrong state"]),
        ("bad-result", "dead", "bad_result", []),
        ("bad-result", "dead", "no_handler", ["wrong state"]),
        ("discarded", "cancelled", "not wanted", []),
        ("discarded", "cancelled", "expired", ["wrong state"]),
        ("rude", "dead", "failed", []),
        ("rude-result", "dead", "failed", ["wrong state"]),
        ("rude-middleware", "completed", "", ["wrong state"]),
        ("quick", "dead", "crash_loop", ["wrong state"]),
    ],
)
def test_a_job_ends_as_its_kind_says(
    event: str, verdict: str, detail: str, found: list[str]
) -> None:
    story = Story().emitted(event=event).run(W1, event=event)
    story.note(verdict, W1, event=event, generation=1, delivery=1, detail=detail)

    assert sorted({*story.found()}) == found


def test_a_job_that_used_its_retries_may_die() -> None:
    story = doomed().run(W1, event="doomed", delivery=2, attempt=2)
    story.note("dead", W1, event="doomed", detail="failed", generation=1, delivery=2)

    assert story.found() == []


@pytest.mark.parametrize("reason", ["no_handler", "payload_missing", "failed", "crash_loop"])
def test_a_death_that_only_redis_tells_of_is_judged_as_well(reason: str) -> None:
    story = Story().emitted().run(W1)

    assert story.found(Snapshot([letter(reason)])) == ["wrong state"]


def test_a_job_that_never_ran_has_not_ended() -> None:
    expired = End(WORK, "a", 1, "cancelled", "not wanted")
    assert Story().emitted(event="discarded").found(Snapshot([expired])) == ["wrong state"]
    assert "wrong state" in Story().emitted().found(Snapshot([completed(W1)]))


def crashed(*killed: str) -> Story:
    """A job whose first worker was killed, whose second may have been, and that died then."""
    story = Story().emitted()
    for delivery, who in enumerate((W1, W2), start=5):
        story.run(who, delivery=delivery)
        if who in killed:
            story.fault("kill", who.partition(".")[0], 1.0)
    return story.note("dead", "worker-3.30", detail="crash_loop", generation=1, delivery=7)


def test_a_job_may_die_of_crashes_that_kills_explain() -> None:
    assert crashed(W1, W2).found() == []
    assert "wrong state" in crashed(W1).found()
    assert "wrong state" in crashed().found()


def test_a_job_must_not_die_of_its_first_crashes() -> None:
    story = Story().emitted().run(W1).fault("kill", "worker-1", 1.0)
    story.run(W2, delivery=2).fault("kill", "worker-2", 1.0)
    story.note("dead", "worker-3.30", detail="crash_loop", generation=1, delivery=3)

    # By what its worker was told, and by what Redis says.
    assert story.found() == ["wrong state", "wrong state"]


def test_a_completed_job_has_its_result() -> None:
    story = Story().emitted().run(W1, "completed")

    assert story.found(Snapshot()) == ["not stored"]
    assert "not stored" in story.found(Snapshot([completed(W2)]))
    # Its id lived again, and Redis has what became of it then.
    story.note("try").run(W2, "completed", generation=2)
    assert story.found(Snapshot([completed(W2, generation=2)])) == []
    assert story.found(Snapshot([completed(W1)])) == ["not stored"]


def test_a_dead_job_has_a_letter_with_its_payload() -> None:
    story = doomed().run(W1, event="doomed", delivery=2, attempt=2)
    story.note("dead", W1, event="doomed", detail="failed", generation=1, delivery=2)
    result = End(WORK, "a", 1, "dead", "1-0")

    assert {*story.found(Snapshot([result]))} == {"not stored"}
    assert story.found(Snapshot([letter(lacks="data"), result])) == ["not stored"]
    # Its worker ended before it could write down that it is dead.
    assert doomed().found(Snapshot([result])) == ["not stored"]
    assert story.found(Snapshot([result, letter(lacks="data")])) == ["not stored"]
    assert story.found(Snapshot([result, letter()])) == []


def test_a_letter_tells_what_it_lacks() -> None:
    given = {
        "job": "a", "lane": "default", "reason": "failed", "error": "it failed", "errors": "[]",
        "delivered": "1", "head": "1:7:0:1:1:0", "id": "a", "event": "doomed", "data": "{}",
        "options": "",
    }  # fmt: skip

    assert letter_of(WORK, given) == replace(letter(delivered=2), generation=7)
    for name in ("data", "event", "options", "error", "errors"):
        lacking = {field: value for field, value in given.items() if field != name}
        assert letter_of(WORK, lacking).lacks == name


def test_a_letter_tells_what_the_code_of_the_application_raised() -> None:
    given = {
        "job": "a", "lane": "default", "reason": "failed", "error": "Panic: no", "errors": "[]",
        "delivered": "1", "head": "1:1:0:1:0:0", "id": "a", "event": "rude", "options": "",
        "data": '{"raises": "Panic"}',
    }  # fmt: skip

    assert letter_of(WORK, given) == letter()
    for reason in ("failed", "bad_payload", "bad_result"):
        told = letter_of(WORK, {**given, "error": "it failed", "reason": reason})
        assert told.lacks == "Panic"
    # Whoever raised it was killed.
    crashed = letter_of(WORK, {**given, "error": "it crashed", "reason": "crash_loop"})
    assert crashed.lacks == ""


def refused(reason: str = "bad_payload") -> Story:
    """A job whose payload was refused, with its letter told to the callback."""
    about = {"event": "unfit", "generation": 1, "delivery": 1}
    story = Story().emitted(event="unfit")
    return story.note("dead", W1, detail=reason, **about).note("told", W1, event="unfit")


def test_a_job_whose_payload_is_refused_dies_of_that_and_has_not_run() -> None:
    assert refused().found() == []
    assert {*refused("failed").found()} == {"wrong state"}
    begun = Story().emitted(event="unfit").note("start", W1, event="unfit", **FIRST)
    about = {"event": "unfit", "generation": 1, "delivery": 1, "detail": "bad_payload"}
    assert {*begun.note("dead", W1, **about).found()} == {"wrong state"}


def test_what_is_refused_again_and_again_and_never_ends_is_lost() -> None:
    assert Story().emitted(event="unfit").found() == ["lost"]


def test_jobs_that_were_to_be_refused_count_by_their_ends() -> None:
    story = Story().note("began", detail='{"unfit": 1.0}', job="")
    for number in range(10):
        about = {"job": f"j{number}", "event": "unfit", "generation": 1, "delivery": 1}
        story.emitted(**about).note("dead", W1, detail="bad_payload", **about)

    assert story.found() == []
    assert checks_of(story.note("healed", job="")) == []


def test_a_job_must_not_begin_in_the_context_of_another() -> None:
    story = Story().emitted().emitted(job="b").run(W1, "completed", job="b")

    assert story.run(W1, "completed").found() == []
    assert story.note("leaked", W1, detail="b 1.1").found() == ["leaked context"]
    assert story.violations(None)[0].check == "leaked context"


@pytest.mark.parametrize(
    ("event", "error", "verdict", "found"),
    [
        ("quick", "CancelledError", "released", []),
        ("quick", "CancelledError", "fenced", []),
        ("retried", "CancelledError", "retried", ["cut off"]),
        ("doomed", "CancelledError", "dead", ["cut off"]),
        ("discarded", "CancelledError", "cancelled", ["cut off"]),
        # It raised that itself.
        ("rude", "CancelledError", "dead", []),
        ("doomed", "ValueError", "retried", []),
    ],
)
def test_a_run_that_its_loop_cut_off_decides_nothing(
    event: str, error: str, verdict: str, found: list[str]
) -> None:
    kind = KINDS[event]
    story = Story().emitted(event=event).up(W1).fault("end-loop", "worker-1", 1.0)
    about = {**FIRST, "event": event, "attempt": kind.retries + 1}
    story.note("start", W1, **about).note("raised", W1, **about, detail=error)
    story.note(verdict, W1, **about, **({"detail": kind.reason} if verdict in ENDS else {}))

    assert [it for it in story.found() if it == "cut off"] == found


def test_a_run_that_its_loop_cut_off_runs_again_and_no_attempt_is_burnt() -> None:
    def cut_off(attempt: int, again: float = 1.0) -> list[str]:
        story = Story().up(W1).up(W2).emitted(job="b").run(W2, "completed", job="b")
        story.emitted().note("start", W1, **FIRST)
        story.fault("end-loop", "worker-1", 1.0).note(
            "raised", W1, **FIRST, detail="CancelledError"
        )
        second = {**FIRST, "delivery": 2, "attempt": attempt}
        return story.note("start", W2, wait=again, **second).note("completed", W2, **second).found()

    assert cut_off(attempt=1) == []
    assert cut_off(attempt=2) == ["attempt burnt"]
    assert cut_off(attempt=1, again=7.0) == ["late"]


def test_a_callback_that_raised_is_given_the_next_letter_as_well() -> None:
    story = doomed().run(W1, event="doomed", delivery=2, attempt=2)
    story.note("dead", W1, event="doomed", detail="failed", generation=1, delivery=2)

    # Its process may have been cut off before it could tell.
    assert story.found() == []
    later = {"job": "b", "event": "unfit", "generation": 1, "delivery": 1}
    story.emitted(**later).note("dead", W1, detail="bad_payload", **later)
    assert story.found() == []
    assert story.note("told", W1, **later).found() == ["not told"]
    assert story.note("told", W1, event="doomed").found() == []


def test_a_process_that_ends_in_order_has_told_each_letter() -> None:
    story = Story().emitted(event="unfit")
    story.note("dead", W1, event="unfit", detail="bad_payload", generation=1, delivery=1)

    assert story.note("down", W1, job="").found() == ["not told"]
    assert refused().note("down", W1, job="").found() == []


def test_while_a_queue_is_spoiled_the_others_go_on() -> None:
    def spoiled(*begun: str, jobs: int = 30) -> list[str]:
        story = Story().emitted(job="before").run(W1, "completed", job="before")
        story.note("try", wait=60.0, job="before").fault("spoil lane", span=4.0)
        story.now += 2.0
        for number in range(jobs):
            story.note("try", job=f"j{number}", wait=0.01).note("ack", job=f"j{number}", wait=0.01)
        for job in begun:
            story.run(W1, "completed", job=job, wait=0.01)
        story.now += 60.0
        for job in {f"j{number}" for number in range(jobs)} - {*begun}:
            story.run(W1, "completed", job=job)
        return story.found()

    assert spoiled() == ["held up"]
    assert spoiled("j0") == []
    # Nothing was to be done.
    assert spoiled(jobs=3) == []


def test_only_the_spoiled_queue_is_excused() -> None:
    def failing(queue: str, wait: float = 1.0) -> list[str]:
        story = Story().fault("spoil meta", span=3.0)
        return story.note("try", queue=queue, wait=wait).note("error", queue=queue).found()

    assert failing(SPOILED) == []
    assert failing(WORK) == ["emit failed"]
    assert failing(SPOILED, wait=60.0) == ["emit failed"]

    def twice(queue: str) -> list[str]:
        about = {"queue": queue, "event": "spoiled"}
        story = Story().emitted(**about).run(W1, **about).fault("spoil lane", span=3.0)
        return story.run(W2, "completed", delivery=2, **about).found()

    assert twice(SPOILED) == []
    assert twice(WORK) == ["run again"]


def test_a_worker_may_not_start_while_its_queue_is_spoiled() -> None:
    def died(text: str, wait: float = 1.0) -> list[str]:
        story = Story().fault("spoil meta", span=3.0)
        return story.note("died", "rig.9", job="", queue="", detail=text, wait=wait).found()

    assert died(f"queue '{SPOILED}' cannot be opened: WRONGTYPE") == []
    assert died(f"queue '{SPOILED}' cannot be opened: WRONGTYPE", wait=60.0) == ["died"]
    assert died(f"queue '{WORK}' cannot be opened: WRONGTYPE") == ["died"]


def test_what_redis_loses_later_may_be_missing() -> None:
    story = Story().emitted().run(W1, "completed").fault("flush-all")

    assert story.found(Snapshot(), LOSSY) == []
    story.note("try", wait=60.0, job="b").note("ack", job="b").run(W1, "completed", job="b")
    assert story.found(Snapshot(), LOSSY) == ["not stored"]


def test_an_idempotency_key_stands_as_long_as_its_job_lives() -> None:
    assert misheld("k", "2", "2 0 default:0 1-0", False) == ""
    assert misheld("k", "2", "", True) == ""
    assert misheld("k", "2", "3 0 default:0 1-0", True) == ""
    assert misheld("k", "2", "2 0 default:0 1-0", True) == "k expires, and its job lives"
    assert misheld("k", "2", "", False) == "k has no expiry, and its job has ended"


def test_an_idempotency_key_is_that_of_one_job() -> None:
    def keyed(*keys: str) -> Story:
        story = Story()
        for job, key in zip("ab", keys, strict=True):
            story.note("try", job=job, event="keyed", detail=key).note("ack", job=job, on=job)
            story.run(W1, "completed", job=job, event="keyed")
        return story

    assert keyed("k", "l").found() == []
    assert keyed("k", "k").found() == ["key used twice"]
    second = Story().note("try", job="a", event="keyed", detail="k").note("ack", job="a", on="a")
    second.run(W1, "completed", job="a", event="keyed")
    second.note("try", job="b", event="keyed", detail="k").note("ack", job="b", on="a")
    assert second.found() == []


def test_an_emit_that_fails_is_told() -> None:
    story = Story().note("try").note("error", detail="TypeError('no')")

    assert story.found() == ["emit failed"]


def began(kinds: str, seconds: float, jobs: int = 0, **fields: str) -> Story:
    """A producer that wanted to emit for some seconds, with jobs of a kind that ran."""
    story = Story().note("began", detail=kinds, job="")
    for it in range(jobs):
        about = {"job": f"j{it}", **fields}
        story.note("try", wait=0.001, **about).note("ack", wait=0.001, **about)
        story.run(W1, "completed", **about)
    story.now = max(story.now, 101.0 + seconds)
    return story.note("healed", job="")


def checks_of(story: Story) -> list[str]:
    return [f"{it.check}: {it.text}" for it in story.violations(story.told())]


def test_a_run_in_which_nothing_was_acknowledged_is_no_proof() -> None:
    story = Story().note("try").note("unknown")

    assert checks_of(story) == ["too little: no emit was acknowledged"]


def test_a_run_in_which_a_kind_did_not_run_is_no_proof() -> None:
    kinds = '{"quick": 1.0, "flaky": 1.0, "block": 0.01}'

    found = checks_of(began(kinds, 50.0, jobs=10))

    assert [it.partition(" ran")[0] for it in found] == [
        "too little: 0 of flaky", "too little: 0 of retries",
    ]  # fmt: skip


def test_a_kind_need_not_run_while_its_queue_is_spoiled() -> None:
    kinds = '{"quick": 1.0, "spoiled": 1.0}'

    assert len(checks_of(began(kinds, 50.0, jobs=10))) == 1
    assert checks_of(began(kinds, 50.0, jobs=10).fault("spoil meta", span=40.0, wait=0.0)) == []


def test_a_long_run_with_few_jobs_is_no_proof() -> None:
    assert checks_of(began("{}", 70.0, jobs=2)) == ["too little: 2 jobs ran, 1000 are the least"]
    assert checks_of(began("{}", 30.0, jobs=2)) == []


def test_one_emit_makes_one_job() -> None:
    story = Story().emitted().run(W1, "completed").run(W2, "completed", generation=2)

    assert story.found() == ["emitted twice"]
    # Emitted anew when the first one was over.
    again = Story().emitted().run(W1, "completed").emitted().run(W2, "completed", generation=2)
    assert again.found(Snapshot([completed(W2, generation=2)])) == []


def parent(*ends: str, after: Story | None = None) -> Story:
    """A parent that declared a child in each queue, with what became of it."""
    story = (after or Story()).emitted(event="parent")
    story.note("start", W1, event="parent", **FIRST)
    for queue, child in ((WORK, "a.same-0"), (OTHER, "a.other-0")):
        story.note("child", W1, generation=1, delivery=1, detail=child, on=queue)
    for end in ends:
        story.note(end, W1, event="parent", generation=1, delivery=1)
    return story


def test_children_come_with_their_parent() -> None:
    story = parent("completed")
    assert story.found() == ["child missing", "child missing"]

    story.run(W1, "completed", job="a.same-0", event="child", generation=2)
    assert story.found() == ["child missing"]

    story.run(W1, "completed", job="a.other-0", event="child", queue=OTHER)
    assert story.found() == []


def test_a_child_that_lived_twice_is_doubled() -> None:
    story = parent("completed").run(W1, "completed", job="a.other-0", event="child", queue=OTHER)
    for generation in (2, 3):
        story.run(W1, "completed", job="a.same-0", event="child", generation=generation)

    assert story.found() == ["emitted twice"]


def test_a_child_of_a_run_that_was_refused_must_not_be_there() -> None:
    story = parent("fenced").run(W1, "completed", job="a.same-0", event="child", generation=2)

    assert story.found() == ["lost", "child without parent"]


def test_a_delayed_job_must_not_start_before_its_time() -> None:
    story = Story()
    story.note("try", due=story.now + 4.0).note("ack").run(W1, "completed")

    assert story.found() == ["early"]
    story = Story()
    story.note("try", due=story.now + 2.5).note("ack").run(W1, "completed")
    assert story.found() == []


def test_an_attempt_needs_a_failure() -> None:
    def again(story: Story) -> list[str]:
        return story.run(W1, "completed", delivery=2, attempt=2).found()

    assert again(Story().emitted().run(W1, "retried")) == ["attempt burnt"]
    assert again(Story().emitted().failed(W1, "ValueError")) == []
    assert again(Story().emitted().failed(W1, "Retry")) == []


@pytest.mark.parametrize("error", ["CancelledError", "Snooze", "Discard"])
def test_what_is_no_failure_burns_no_attempt(error: str) -> None:
    story = Story().emitted().fault("terminate", "worker-1", 1.0)
    story.failed(W1, error, "released").run(W2, "completed", delivery=2, attempt=2)

    assert story.found() == ["attempt burnt"]


@pytest.mark.parametrize(
    ("event", "error", "attempt", "wait", "found"),
    [
        ("flaky", "ValueError", 1, 0.11, []),
        ("flaky", "ValueError", 1, 0.02, ["early"]),
        ("flaky", "ValueError", 2, 0.11, ["early"]),
        ("flaky", "ValueError", 2, 0.21, []),
        ("snoozed", "Snooze", 1, 0.21, []),
        ("snoozed", "Snooze", 1, 0.1, ["early"]),
        ("retried", "Retry", 1, 0.01, []),
    ],
)
def test_a_retry_is_not_before_its_time(
    event: str, error: str, attempt: int, wait: float, found: list[str]
) -> None:
    story = Story().emitted(event=event)
    for before in range(1, attempt):
        story.failed(W1, error, event=event, delivery=before, attempt=before)
    about = {"event": event, "generation": 1, "delivery": attempt, "attempt": attempt}
    story.note("start", W1, **about).note("raised", W1, **about, detail=error)
    story.note("retried", W1, **about, wait=0.0)
    story.note("start", W1, wait=wait, **{**about, "delivery": attempt + 1})

    assert [it for it in story.found() if it == "early"] == found


def in_line(*started: tuple[str, int, int]) -> list[str]:
    """Jobs of the line by id, generation and delivery, in the order of their starts."""
    story = Story()
    for job, _, _ in sorted(started):
        story.emitted(job=job, queue=LINE, event="line")
    for job, generation, delivery in started:
        story.run(
            W1, "completed", job=job, queue=LINE, event="line",
            generation=generation, delivery=delivery,
        )  # fmt: skip
    return story.found()


def test_the_line_is_kept() -> None:
    assert in_line(("a", 1, 1), ("b", 2, 1), ("c", 3, 1)) == []
    assert in_line(("a", 1, 1), ("c", 3, 1), ("b", 2, 1)) == ["order"]
    # Taken over from a dead worker: it lost its place with that.
    assert in_line(("b", 2, 1), ("a", 1, 2), ("c", 3, 1)) == []


def test_what_redis_still_holds_is_told() -> None:
    snapshot = Snapshot([completed(W1)], {"tm:{work}:outbox": 2}, ["tm:{work}:x has no expiry"])

    story = Story().emitted().run(W1, "completed")

    assert story.found(snapshot) == ["drained", "stray key"]


def test_a_counter_that_is_off_is_told() -> None:
    story = Story().emitted().run(W1, "completed")
    snapshot = story.told(completed={WORK: 1})

    assert story.found(snapshot) == []
    assert story.found(replace(snapshot, completed={WORK: 2})) == ["counters"]
    assert story.found(replace(snapshot, completed={WORK: 0})) == ["counters"]


def test_a_process_that_ended_by_itself_is_told() -> None:
    story = Story().note("died", "rig.9", job="", on="worker-1", detail="it ended with 1")

    assert story.found() == ["died"]


def test_what_is_lost_with_the_data_of_redis_is_reported_and_no_violation() -> None:
    story = Story().emitted().fault("flush-all")
    assert story.found(rules=LOSSY) == []
    assert [it.check for it in losses(History(story.records, Snapshot()), LOSSY)] == ["lost"]

    story.emitted(job="b")
    assert story.found(rules=LOSSY) == ["lost"]
    story = Story().fault("flush-all").emitted()
    assert story.run(W1, "completed").run(W1, "completed", generation=2).found(
        Snapshot([completed(W1, generation=2)]), LOSSY
    ) == ["emitted twice"]
    story = parent("completed", after=Story().fault("flush-all"))
    assert story.found(rules=LOSSY) == ["child missing", "child missing"]


def test_while_a_run_goes_on_only_what_cannot_be_mended_is_told() -> None:
    assert Story().emitted().violations(None) == []
    assert parent("completed").violations(None) == []
    assert Story().run(W1).violations(None)[0].check == "unexpected"
