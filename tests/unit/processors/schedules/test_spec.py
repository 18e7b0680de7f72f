"""Intervals, and which text means one."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumers.errors import InvalidInput
from consumers.jobs.lanes import Lane
from consumers.store.schedule_record import MAX_TIME
from processors.schedules.cron import CronSpec
from processors.schedules.schedule import Schedule
from processors.schedules.spec import LONGEST_MS, IntervalSpec, spec_of

LENGTHS = st.integers(1000, LONGEST_MS)
MOMENTS = st.integers(-1, MAX_TIME)


@given(LENGTHS, MOMENTS, st.integers(0, 20))
def test_an_interval_fires_at_each_of_its_multiples_and_nowhere_else(
    every: int, at: int, count: int
) -> None:
    spec = IntervalSpec(every)
    fires = spec.upcoming(at, count)

    assert fires[:1] == ([] if count == 0 or (first := spec.next_after(at)) is None else [first])
    assert all(fire % every == 0 and fire > at for fire in fires)
    assert all(fire - at <= every for fire in fires[:1])
    assert all(later - earlier == every for earlier, later in pairwise(fires))
    assert len(fires) == count or fires == [] or fires[-1] > MAX_TIME - every
    if fires:
        assert spec.missed(at, fires[-1], count) == fires
        assert spec.missed(at, fires[-1] + every - 1, 1) == fires[-1:]
        assert spec.missed(fires[-1], fires[-1] + every - 1, count) == []


def test_a_day_fires_at_midnight_in_utc_as_the_pattern_of_it_does() -> None:
    now = 1_790_000_000_000

    assert IntervalSpec(86_400_000).upcoming(now, 3) == CronSpec("@daily").upcoming(now, 3)


@given(LENGTHS)
def test_an_interval_is_read_again_from_what_is_kept_of_it(every: int) -> None:
    spec = IntervalSpec(every)
    schedule = Schedule("tick", spec, "work", Lane("default"))

    assert spec_of(spec.pattern, spec.tz) == spec
    assert Schedule.read("default", "tick", schedule.definition) == schedule


def test_two_lengths_are_two_definitions() -> None:
    schedule = Schedule("tick", IntervalSpec(90_000), "work", Lane("default"))

    assert (schedule.spec.pattern, schedule.spec.tz) == ("every 90 s", "UTC")
    assert IntervalSpec(1_500).pattern == "every 1.500 s"
    assert replace(schedule, spec=IntervalSpec(90_001)).digest != schedule.digest


@pytest.mark.parametrize(
    ("pattern", "tz", "message"),
    [
        ("every 0.999 s", "UTC", "schedule 'every 0.999 s' is not allowed: give 1 second to"),
        ("every 31536001 s", "UTC", "schedule 'every 31536001 s' is not allowed: give 1 second to"),
        ("every 90 s", "Europe/Berlin", "tz 'Europe/Berlin' is not allowed: an interval has no"),
        ("every 5 minutes", "UTC", "schedule 'every 5 minutes' is not allowed: it has 3 fields"),
        ("90", "UTC", "schedule '90' is not allowed: it has 1 field: .* an interval, give every"),
    ],
)  # fmt: skip
def test_what_is_no_pattern_is_refused(pattern: str, tz: str, message: str) -> None:
    with pytest.raises(InvalidInput, match=f"^{message}"):
        spec_of(pattern, tz)
