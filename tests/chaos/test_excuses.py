"""The checker sees what faults do not explain, in histories made by hand."""

from __future__ import annotations

from typing import Any

import pytest

from tests.chaos.figures import judgements
from tests.chaos.history import History
from tests.chaos.snapshot import Snapshot
from tests.chaos.story import LOSSY, RULES, W1, W2, Story, completed
from tests.chaos.workload import PROBES, WORK


def twice(story: Story, wait: float = 1.0) -> list[str]:
    """What is said of a job that is run by a second worker as well."""
    return story.run(W1).run(W2, "completed", delivery=2, wait=wait).found()


def test_a_second_run_needs_a_reason() -> None:
    assert twice(Story().emitted()) == ["run again"]
    assert twice(Story().emitted().fault("pause", "worker-1", 3.0)) == []
    assert twice(Story().emitted().fault("pause", "worker-2", 3.0)) == ["run again"]
    assert twice(Story().emitted().fault("kill-redis")) == []
    # Long ago.
    story = Story().emitted().fault("pause", "worker-1", 1.0).note("try", wait=60.0)
    assert twice(story) == ["run again"]
    retried = Story().emitted().run(W1, "retried")
    assert retried.run(W2, "completed", delivery=2).found() == []


@pytest.mark.parametrize("act", ["flush-scripts", "fill-memory", "kill-clients pubsub", "latency"])
def test_a_harmless_fault_is_no_reason(act: str) -> None:
    assert twice(Story().emitted().fault(act, span=2.0)) == ["run again"]


def test_a_fault_of_everybody_is_no_reason_for_long() -> None:
    assert twice(Story().emitted().fault("kill-redis", span=1.0).note("try", wait=10.0)) == [
        "run again"
    ]


def test_a_kill_explains_what_its_process_held_and_nothing_else() -> None:
    story = Story().emitted().run(W1).fault("kill", "worker-1", 1.0)
    assert story.run(W2, "completed", delivery=2).found() == []
    # Begun by the process that came after it.
    assert twice(Story().emitted().fault("kill", "worker-1", 1.0)) == ["run again"]
    # Over before.
    story = Story().emitted().run(W1, "completed").fault("kill", "worker-1", 1.0)
    assert "run again" in story.run(W2, "completed", delivery=2).found()


def test_a_verdict_is_not_that_of_a_later_run_with_the_same_number() -> None:
    """A group that was made anew counts deliveries from one again (seed 306)."""
    story = Story().emitted().fault("destroy-group").run(W1, "fenced", wait=0.1)
    story.note("try", wait=60.0).fault("destroy-group").run(W1, wait=0.1)

    assert story.run(W2, "completed", delivery=2, wait=0.1).found() == []


def test_a_retry_is_not_early_for_the_verdict_of_another_run_with_its_number() -> None:
    """As above: the first of both was fenced off, the second was retried."""
    flaky: dict[str, Any] = {"event": "flaky", "wait": 0.01}
    story = Story().fault("destroy-group").note("try", **flaky).note("ack", **flaky)
    story.failed(W1, "ValueError", "fenced", **flaky).failed(W1, "ValueError", **flaky)
    story.run(W2, "completed", delivery=2, attempt=2, event="flaky", wait=5.0)

    assert "early" not in story.found()


def test_what_could_be_judged_is_counted() -> None:
    story = Story().emitted().run(W1, "completed").fault("pause", "worker-1", 3.0)
    story.emitted(job="b").run(W1, "completed", job="b")

    assert judgements(History(story.records, story.told()), RULES)["jobs"] == 1


def test_a_long_run_in_which_no_job_could_be_judged_is_no_proof() -> None:
    story = Story().fault("pause", "worker-1", 10_000.0)
    for it in range(1000):
        story.note("try", job=f"j{it}", wait=0.01).note("ack", job=f"j{it}", wait=0.01)
        story.run(W1, "completed", job=f"j{it}")

    found = [it.text for it in story.violations(story.told())]

    assert found == ["each run was near a fault: none was judged for a second"]


def orphaned(wait: float, *faults: tuple[str, str, float]) -> list[str]:
    """A job of a killed worker that is run again after some seconds; more faults meanwhile."""
    story = Story().up(W1).up(W2).emitted().emitted(job="b").run(W2, "completed", job="b").run(W1)
    story.fault("kill", "worker-1", 1.0)
    begin = story.now
    for act, on, span in faults:
        story.fault(act, on, span, wait=0.0)
    story.now = begin
    return story.run(W2, delivery=2, wait=wait).note(
        "completed", W2, generation=1, delivery=2
    ).found()  # fmt: skip


def test_a_job_of_a_killed_worker_must_not_wait_for_long() -> None:
    assert orphaned(4.0) == []
    assert orphaned(9.0) == ["late"]
    # Nobody was there to take it over.
    assert orphaned(9.0, ("kill-redis", "", 6.0)) == []
    assert orphaned(9.0, ("refuse", "worker-2", 6.0)) == []


def probed(*begun: str) -> list[str]:
    """Two workers when the faults are over, and who begins the jobs then, one each second."""
    story = Story().up(W1).up(W2).emitted()
    story.run(W1, "completed").note("healed", job="")
    for number, who in enumerate(begun):
        about = {"job": f"p{number}", "event": "probe"}
        story.note("try", wait=0.1, **about).note("ack", wait=0.1, **about)
        story.run(who, "completed", **about)
    return [it for it in story.found() if it != "fire missing"]


def test_a_worker_that_begins_nothing_when_the_faults_are_over_is_deaf() -> None:
    assert PROBES > 100
    assert probed(*[W1] * 8) == ["deaf"]
    assert probed(*[W1] * 7, W2) == []
    # Too short to tell.
    assert probed(W1) == []


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


def fired(*times: int, after: Story | None = None) -> Story:
    """Runs of fire times."""
    story = after or Story()
    for time in times:
        story.run(W1, "completed", job=f"cron:tick:{time}", event="tick")
    return story


@pytest.mark.parametrize(
    ("times", "expected"),
    [((1000, 2000, 3000), []), ((1000, 3000), ["fire missing"])],
)
def test_each_fire_time_has_its_job(times: tuple[int, ...], expected: list[str]) -> None:
    story = fired(*times)

    assert story.found(story.told(completed={WORK: len(times)})) == expected


def test_a_fire_time_with_two_jobs_is_emitted_twice() -> None:
    story = fired(1000).run(W2, "completed", job="cron:tick:1000", event="tick", generation=2)

    assert "emitted twice" in story.found(Snapshot(completed={WORK: 2}))


def scheduled(*times: int, until: float, fault: str = "") -> list[str]:
    """Emits from second 102 to the end of the faults, with a worker, and what was fired."""
    story = fired(*times, after=Story().up(W1, wait=0.0).emitted().run(W1, "completed"))
    story.now = until - 3.0
    if fault:
        story.fault(fault, span=2.0, wait=0.0)
    story.now = until - 1.0
    story.healed()
    return story.found(story.told())


ALL_TIMES = range(101_000, 140_000, 1000)


def test_the_schedule_fires_from_the_first_emit_to_the_end_of_the_faults() -> None:
    assert scheduled(*ALL_TIMES, until=140.0) == []
    assert scheduled(until=140.0) == ["fire missing"]
    assert scheduled(*ALL_TIMES[:5], until=140.0) == ["fire missing"]
    assert scheduled(*ALL_TIMES[10:], until=140.0) == ["fire missing"]


def test_what_the_last_faults_kept_from_being_fired_is_not_missing() -> None:
    assert scheduled(*ALL_TIMES[:-4], until=140.0) == ["fire missing"]
    assert scheduled(*ALL_TIMES[:-4], until=140.0, fault="kill-redis") == []


def debounced(data: str, *, start: float = 0.3, runs: int = 1) -> Story:
    """Two emits of a storm, a tenth of a second apart, and its run, with somebody's data."""
    story = Story()
    for job in ("a", "b"):
        about = {"job": job, "event": "storm"}
        story.note("try", wait=0.05, detail="g", **about)
        story.note("ack", wait=0.05, on="s", **about)
    for number in range(1, runs + 1):
        about = {"job": "s", "event": "storm", "generation": number, "delivery": 1, "attempt": 1}
        story.note("start", W1, wait=start, **about, detail=data).note("completed", W1, **about)
    return story


def test_a_storm_runs_with_the_data_of_its_last_emit() -> None:
    assert debounced("b").found() == []
    assert debounced("a").found() == ["old data"]


def test_a_storm_runs_when_it_is_over_and_not_long_after() -> None:
    assert debounced("b", start=0.1).found() == ["early"]
    assert debounced("b", start=8.0).found() == []
    assert debounced("b", start=12.0).found() == ["late"]
    story = Story().fault("kill-redis", span=10.0, wait=0.0)
    story.records += debounced("b", start=12.0).records
    assert story.found() == []


def test_emits_that_are_not_debounced_are_told() -> None:
    story = Story()
    for number in range(40):
        about = {"job": f"e{number}", "event": "storm"}
        story.note("try", detail="g", **about).note("ack", on=f"s{number}", **about)
        story.run(W1, "completed", job=f"s{number}", event="storm", detail=f"e{number}")

    assert story.found() == ["not debounced"]


def test_a_loss_excuses_no_storm_that_comes_after_it() -> None:
    story = Story().fault("flush-all", wait=0.0)
    story.now += 60.0
    later = debounced("a")
    moved = [(it, story.now) for it in later.records]
    for it, by in moved:
        story.note(
            it.what, it.who, wait=it.at + by - 100.0 - story.now, job=it.job, event=it.event,
            detail=it.detail, on=it.on, generation=it.generation, delivery=it.delivery,
        )  # fmt: skip

    assert story.found(rules=LOSSY) == ["old data"]
