"""The checker sees what is wrong in a history made by hand, and nothing where all is well."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.chaos.checks import Rules, Violation, check, counts, losses
from tests.chaos.history import History
from tests.chaos.snapshot import End, Snapshot
from tests.chaos.workload import LINE, OTHER, WORK
from tests.support.oracle import Record

RULES = Rules(lease=2.0)
LOSSY = Rules(lease=2.0, keeps_data=False)
W1, W2 = "worker-1.10", "worker-2.20"


class Story:
    """Writes records, one second after another, about jobs of the kind ``quick``."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.now = 100.0

    def note(self, what: str, who: str = "p.1", *, wait: float = 1.0, **fields: Any) -> Story:
        self.now += wait
        about = {"job": "a", "queue": WORK, "event": "quick", **fields}
        self.records.append(Record(what=what, who=who, at=self.now, wall=self.now, **about))
        return self

    def emitted(self, **fields: Any) -> Story:
        return self.note("try", **fields).note("ack", **fields)

    def run(self, who: str, *verdict: str, **fields: Any) -> Story:
        """A run from its start to its verdict, when there is one."""
        about = {"generation": 1, "delivery": 1, "attempt": 1, **fields}
        self.note("start", who, **about)
        return self.note(verdict[0], who, **about) if verdict else self

    def fault(self, act: str, on: str = "", span: float = 0.0) -> Story:
        return self.note("fault", "rig.9", job="", queue="", event="", detail=act, on=on, span=span)

    def found(self, snapshot: Snapshot | None = None, rules: Rules = RULES) -> list[str]:
        return [it.check for it in self.violations(snapshot or Snapshot(), rules)]

    def violations(self, snapshot: Snapshot | None, rules: Rules = RULES) -> list[Violation]:
        return check(History(self.records, snapshot), rules)


def completed(who: str, delivery: int = 1, generation: int = 1, **fields: str) -> End:
    """A result that Redis holds."""
    about = {"queue": WORK, "job": "a", **fields}
    return End(
        generation=generation, state="completed", value={"who": who, "delivery": delivery}, **about
    )


def test_a_job_that_was_run_once_is_fine() -> None:
    assert Story().emitted().run(W1, "completed").found(Snapshot([completed(W1)])) == []


def test_an_acknowledged_job_without_an_end_is_lost() -> None:
    story = Story().emitted()

    assert story.found() == ["lost"]
    assert story.run(W1).found() == ["lost"]
    assert Story().note("try").note("unknown").found() == []


def test_a_job_whose_worker_died_before_it_could_write_its_verdict_is_not_lost() -> None:
    assert Story().emitted().run(W1).found(Snapshot([completed(W1)])) == []
    dead = End(WORK, "a", 1, "dead", "failed")
    assert Story().emitted(event="doomed").run(W1, event="doomed").found(Snapshot([dead])) == []


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

    assert story.found() == ["committed twice"]
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


def test_done_and_dead_at_once_is_a_violation() -> None:
    snapshot = Snapshot([completed(W1), End(WORK, "a", 1, "dead", "failed")])

    assert Story().emitted().run(W1, "completed").found(snapshot) == ["two states"]


@pytest.mark.parametrize(
    ("event", "verdict", "detail", "found"),
    [
        ("quick", "dead", "failed", ["wrong state"]),
        ("quick", "cancelled", "", ["wrong state"]),
        ("doomed", "completed", "", ["wrong state"]),
        ("doomed", "dead", "failed", []),
        ("quick", "dead", "crash_loop", []),
    ],
)
def test_a_job_ends_as_its_kind_says(
    event: str, verdict: str, detail: str, found: list[str]
) -> None:
    story = Story().emitted(event=event).run(W1, event=event)

    assert story.note(verdict, W1, event=event, generation=1, delivery=1, detail=detail)
    assert story.found() == found


def test_one_emit_makes_one_job() -> None:
    story = Story().emitted().run(W1, "completed").run(W2, "completed", generation=2)

    assert story.found() == ["emitted twice"]
    # Emitted anew when the first one was over.
    again = Story().emitted().run(W1, "completed").emitted().run(W2, "completed", generation=2)
    assert again.found() == []


def parent(*ends: str) -> Story:
    """A parent that declared a child in each queue, with what became of it."""
    story = Story().emitted(event="parent").note("start", W1, generation=1, delivery=1, attempt=1)
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
    story = Story().emitted().run(W1, "retried").run(W1, "completed", delivery=2, attempt=2)
    assert story.found() == ["attempt burnt"]

    about = {"generation": 1, "delivery": 1, "attempt": 1}
    story = Story().emitted().run(W1).note("raised", W1, **about).note("retried", W1, **about)
    assert story.run(W1, "completed", delivery=2, attempt=2).found() == []


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


def test_a_second_run_needs_a_reason() -> None:
    def twice(story: Story) -> list[str]:
        return story.run(W1).run(W2, "completed", delivery=2).found()

    assert twice(Story().emitted()) == ["run again"]
    assert twice(Story().emitted().fault("pause", "worker-1", 3.0)) == []
    assert twice(Story().emitted().fault("pause", "worker-2", 3.0)) == ["run again"]
    assert twice(Story().emitted().fault("kill-redis")) == []
    # Long ago.
    story = Story().emitted().fault("kill", "worker-1", 1.0).note("try", wait=60.0)
    assert twice(story) == ["run again"]
    retried = Story().emitted().run(W1, "retried")
    assert retried.run(W2, "completed", delivery=2).found() == []


def test_what_redis_still_holds_is_told() -> None:
    snapshot = Snapshot([completed(W1)], {"tm:{work}:outbox": 2}, ["tm:{work}:x has no expiry"])

    story = Story().emitted().run(W1, "completed")

    assert story.found(snapshot) == ["drained", "stray key"]


def test_a_counter_that_is_off_is_told() -> None:
    story = Story().emitted().run(W1, "completed")
    snapshot = Snapshot([completed(W1)], completed={WORK: 1})

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


def test_while_a_run_goes_on_only_what_cannot_be_mended_is_told() -> None:
    assert Story().emitted().violations(None) == []
    assert parent("completed").violations(None) == []
    assert Story().run(W1).violations(None)[0].check == "unexpected"


def storm(story: Story, *ids: str, became: str) -> Story:
    """Emits of one storm, each told what it became part of."""
    for job in ids:
        story.note("try", job=job, event="storm").note("ack", job=job, event="storm", on=became)
    return story


def test_emits_of_a_storm_are_well_when_the_job_that_they_became_has_ended() -> None:
    story = storm(Story(), "a", "b", became="s").run(W1, "completed", job="s", event="storm")

    assert story.found(Snapshot(ends=[completed(W1, job="s")], completed={WORK: 1})) == []


def test_an_emit_of_a_storm_whose_job_never_ran_is_lost() -> None:
    story = storm(Story(), "a", became="s")
    storm(story, "b", became="t").run(W1, "completed", job="s", event="storm")

    assert story.found(Snapshot(ends=[completed(W1, job="s")], completed={WORK: 1})) == ["lost"]


def test_a_run_of_a_storm_that_no_emit_became_is_unexpected() -> None:
    story = Story().run(W1, "completed", job="s", event="storm")

    found = story.found(Snapshot(ends=[completed(W1, job="s")], completed={WORK: 1}))

    assert found == ["unexpected"]


def fired(*times: int) -> Story:
    """Runs of fire times."""
    story = Story()
    for time in times:
        story.run(W1, "completed", job=f"cron:tick:{time}", event="tick")
    return story


@pytest.mark.parametrize(
    ("times", "expected"),
    [((1000, 2000, 3000), []), ((1000, 3000), ["fire missing"])],
)
def test_each_fire_time_has_its_job(times: tuple[int, ...], expected: list[str]) -> None:
    assert fired(*times).found(Snapshot(completed={WORK: len(times)})) == expected


def test_a_fire_time_with_two_jobs_is_emitted_twice() -> None:
    story = fired(1000).run(W2, "completed", job="cron:tick:1000", event="tick", generation=2)

    assert "emitted twice" in story.found(Snapshot(completed={WORK: 2}))
