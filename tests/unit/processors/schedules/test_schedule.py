"""A schedule without Redis: what is due, what is checked, and what Redis keeps of it."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest

from consumers.errors import InvalidInput
from consumers.jobs.lanes import Lane
from consumers.jobs.names import check_job_id
from consumers.store.schedule_record import MAX_VERSION
from processors.schedules.cron import CronSpec
from processors.schedules.schedule import (
    GRACE_MS,
    IN_TIME_MS,
    MOST_CAUGHT_UP,
    Missed,
    Overlap,
    Schedule,
    fire_id,
    fire_of,
)

MINUTE = 60_000
HOUR = 60 * MINUTE
# 1 January 2026, 00:00 UTC.
T0 = 1_767_225_600_000

HOURLY = Schedule("nightly", CronSpec("0 * * * *"), "report", Lane("default"))
FULL = Schedule(
    name="nightly",
    spec=CronSpec("0 3 * * *", "Europe/Berlin"),
    event="report",
    lane=Lane("mail", "workers", "acme", -5),
    data='{"to":"ключ"}'.encode(),
    options=b'{"max_retries":3}',
    missed="all",
    overlap="queue",
    version=4,
)


def due(missed: Missed, late_ms: int, slot: int = T0) -> tuple[list[int], int, int, int | None]:
    """Return what is due when the first fire at slot is late."""
    fires = replace(HOURLY, missed=missed).fires(slot, slot + late_ms)
    return [it - T0 for it in fires.chosen], fires.passed_over, fires.latest - T0, fires.following


@pytest.mark.parametrize("missed", ["skip", "one", "all"])
def test_what_is_due_in_time_fires_whatever_the_policy(missed: Missed) -> None:
    assert due(missed, 0) == ([0], 0, 0, T0 + HOUR)
    assert due(missed, GRACE_MS) == ([0], 0, 0, T0 + HOUR)


@pytest.mark.parametrize(
    ("missed", "chosen", "passed_over"),
    [("skip", [], 4), ("one", [3 * HOUR], 3), ("all", [0, HOUR, 2 * HOUR, 3 * HOUR], 0)],
)
def test_after_three_hours_without_a_worker_the_policy_decides(
    missed: Missed, chosen: list[int], passed_over: int
) -> None:
    late = 3 * HOUR + 10 * MINUTE

    assert due(missed, late) == (chosen, passed_over, 3 * HOUR, T0 + 4 * HOUR)


def test_skip_fires_the_latest_one_when_that_is_hardly_late() -> None:
    assert due("skip", 3 * HOUR + GRACE_MS) == ([3 * HOUR], 3, 3 * HOUR, T0 + 4 * HOUR)
    assert due("skip", 3 * HOUR + GRACE_MS + 1) == ([], 4, 3 * HOUR, T0 + 4 * HOUR)


SECONDLY = replace(HOURLY, spec=CronSpec("* * * * * *"))


@pytest.mark.parametrize("missed", ["skip", "one", "all"])
@pytest.mark.parametrize("late_ms", [0, 999, 3000, IN_TIME_MS])
def test_a_hiccup_of_a_few_seconds_loses_no_fire_time(missed: Missed, late_ms: int) -> None:
    fires = replace(SECONDLY, missed=missed).fires(T0, T0 + late_ms)

    assert fires.chosen == list(range(T0, T0 + late_ms + 1, 1000))
    assert (fires.passed_over, fires.latest) == (0, fires.chosen[-1])
    assert fires.following == fires.latest + 1000


OUTAGES: list[tuple[str, Missed, int, int]] = [
    # pattern, missed, how long nobody lived, how many jobs there are then
    ("* * * * * *", "one", 12_000, 11),
    ("* * * * * *", "one", HOUR, 11),
    ("* * * * * *", "skip", HOUR, 11),
    ("* * * * * *", "all", HOUR, 100),
    ("* * * * *", "one", 30_000, 1),
    ("* * * * *", "skip", 30_000, 1),
    ("* * * * *", "one", HOUR + 30_000, 1),
    ("0 * * * *", "one", 3 * HOUR, 1),  # the latest is in time: it stands for the others
    ("0 * * * *", "one", 3 * HOUR + 15_000, 1),
    ("0 * * * *", "one", 3 * HOUR + 10 * MINUTE, 1),
    ("0 * * * *", "skip", 3 * HOUR + 15_000, 1),
    ("0 * * * *", "skip", 3 * HOUR + 10 * MINUTE, 0),
    ("0 * * * *", "all", 3 * HOUR + 10 * MINUTE, 4),
]


@pytest.mark.parametrize(("pattern", "missed", "late_ms", "jobs"), OUTAGES)
def test_how_many_jobs_there_are_after_an_outage(
    pattern: str, missed: Missed, late_ms: int, jobs: int
) -> None:
    schedule = replace(HOURLY, spec=CronSpec(pattern), missed=missed)
    now = T0 + late_ms
    due = schedule.spec.missed(T0 - 1, now, 1000)

    fires = schedule.fires(T0, now)

    assert fires.chosen == due[len(due) - jobs :]
    assert (fires.passed_over, fires.latest) == (len(due) - jobs, due[-1])
    assert fires.following == schedule.spec.next_after(now)


@pytest.mark.parametrize("overlap", ["skip", "queue"])
def test_fire_times_that_must_not_overlap_are_given_one_at_a_time(overlap: Overlap) -> None:
    schedule = replace(SECONDLY, overlap=overlap)

    first = schedule.fires(T0, T0 + 15_000)
    assert first.following is not None
    second = schedule.fires(first.following, T0 + 15_000)

    assert (first.chosen, first.passed_over, first.latest) == ([T0 + 5000], 5, T0 + 5000)
    assert (second.chosen, second.passed_over, second.latest) == ([T0 + 6000], 0, T0 + 6000)


def test_all_catches_up_on_the_latest_hundred_and_counts_the_rest() -> None:
    chosen, passed_over, latest, following = due("all", 149 * HOUR)

    assert len(chosen) == MOST_CAUGHT_UP == 100
    assert chosen == [n * HOUR for n in range(50, 150)]
    assert (passed_over, latest, following) == (50, 149 * HOUR, T0 + 150 * HOUR)


def test_a_year_of_seconds_costs_no_more_than_a_thousand() -> None:
    every_second = replace(HOURLY, spec=CronSpec("* * * * * *"))
    now = T0 + 365 * 24 * HOUR

    fires = every_second.fires(T0, now)

    assert fires.chosen == [now - n * 1000 for n in range(10, -1, -1)]
    assert fires.passed_over == 1000 - 11
    assert (fires.latest, fires.following) == (now, now + 1000)


def test_a_slot_of_an_earlier_definition_is_fired_as_it_was_promised() -> None:
    half_past = T0 + 30 * MINUTE

    fires = HOURLY.fires(half_past, half_past + 5)

    assert fires.chosen == [half_past]
    assert (fires.latest, fires.following) == (half_past, T0 + HOUR)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"missed": "none"}, "missed 'none' is not allowed: give one of skip, one, all"),
        ({"missed": None}, "missed None is not allowed"),
        ({"overlap": True}, "overlap True is not allowed: give one of allow, skip, queue"),
        ({"overlap": "wait"}, "overlap 'wait' is not allowed: give one of allow, skip, queue"),
        ({"version": -1}, "version -1 is not allowed: give a whole number of at least 0"),
        ({"version": MAX_VERSION + 1}, "version 9007199254740992 is not allowed: give .* at most"),
        ({"version": True}, "version True is not allowed"),
        ({"version": 1.0}, "version 1.0 is not allowed"),
        ({"name": "a b"}, "schedule 'a b' is not allowed: use 1 to 128"),
        ({"name": ""}, "schedule '' is not allowed"),
    ],
)
def test_what_a_schedule_cannot_be_is_refused(given: Any, message: str) -> None:
    with pytest.raises(InvalidInput, match=f"^{message}"):
        replace(HOURLY, **given)


@pytest.mark.parametrize("schedule", [HOURLY, FULL])
def test_a_schedule_is_read_again_as_it_was(schedule: Schedule) -> None:
    queue = schedule.lane.queue

    again = Schedule.read(queue, schedule.name, schedule.definition, schedule.version)

    assert again == schedule
    assert (again.digest, again.definition) == (schedule.digest, schedule.definition)


def test_the_digest_tells_definitions_apart_and_nothing_else() -> None:
    others = {
        "spec": CronSpec("0 4 * * *", "Europe/Berlin"),
        "event": "other",
        "lane": Lane("mail", "workers", "acme", -4),
        "data": b"{}",
        "options": b"",
        "missed": "one",
        "overlap": "skip",
    }
    changed = [replace(FULL, **{name: value}) for name, value in others.items()]

    # The name and the version are kept beside the definition.
    assert {it.name for it in fields(Schedule)} == {*others, "name", "version"}
    assert len({it.digest for it in (FULL, *changed)}) == len(changed) + 1
    assert replace(FULL, name="other", version=5).digest == FULL.digest
    assert replace(FULL, spec=CronSpec("0 3 * * *", "Europe/Paris")).digest != FULL.digest


@pytest.mark.parametrize(
    "definition",
    [
        b"",
        b"no json",
        b"[]",
        b"7",
        b"null",
        b"{}",
        FULL.definition.replace(b"0 3 * * *", b"0 3 * * * * *"),
        FULL.definition.replace(b"Europe/Berlin", b"Mars/Base"),
        FULL.definition.replace(b'"overlap": "queue"', b'"overlap": "newer"'),
        FULL.definition.replace(b"workers:acme:-5", b"workers"),
        FULL.definition.replace(b'"options": "', b'"options": 7, "more": "'),
    ],
)
def test_a_definition_of_another_version_is_a_value_error(definition: bytes) -> None:
    with pytest.raises(ValueError):
        Schedule.read("mail", "nightly", definition)


def test_the_job_of_a_fire_time_is_the_same_wherever_it_is_made() -> None:
    job = FULL.job(T0)

    assert job == Schedule.read("mail", "nightly", FULL.definition).job(T0)
    assert (job.id, job.event, job.lane) == (f"cron:nightly:{T0}", "report", FULL.lane)
    assert (job.data, job.options, job.due, job.guard) == (FULL.data, FULL.options, "", "")


def test_a_fire_is_read_from_its_id() -> None:
    assert fire_of(fire_id("nightly", T0)) == ("nightly", T0)
    assert check_job_id(fire_id("n" * 128, 8_000_000_000_000_000))
    for other in ("nightly", "cron:nightly", "cron::5", "cron:nightly:now-1a2b", "x:nightly:5", ""):
        assert fire_of(other) is None
