"""What cron patterns mean, by the clocks of time zones; no Redis is needed to decide that."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import islice, pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from croniter import croniter  # type: ignore[import-untyped]
from cronsim import CronSim
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from consumers.errors import InvalidInput
from processors.schedules import cron
from processors.schedules.cron import CronSpec
from processors.schedules.pattern import InvalidSchedule

NOW = 1_790_000_000_123


def ms(text: str, tz: str = "UTC") -> int:
    time = datetime.fromisoformat(text)
    return round((time if time.tzinfo else time.replace(tzinfo=ZoneInfo(tz))).timestamp() * 1000)


def times(pattern: str, after: str, count: int, tz: str = "UTC") -> list[str]:
    """Return the next fire times as local time and offset."""
    fires = CronSpec(pattern, tz).upcoming(ms(after, tz), count)
    form = "%Y-%m-%d %H:%M:%S" if len(pattern.split()) == 6 else "%Y-%m-%d %H:%M"
    local = [datetime.fromtimestamp(fire / 1000, ZoneInfo(tz)) for fire in fires]
    return [it.strftime(form if tz == "UTC" else f"{form} %z") for it in local]


@pytest.mark.parametrize(
    ("pattern", "after", "expected"),
    [
        ("0 3 * * *", "2026-12-31T03:00", ["2027-01-01 03:00", "2027-01-02 03:00"]),
        ("*/20 9 * * *", "2026-01-01", ["2026-01-01 09:00", "2026-01-01 09:20"]),
        ("10-40/15 9 * * *", "2026-01-01", ["2026-01-01 09:10", "2026-01-01 09:25"]),
        ("00 05 01 * *", "2026-01-01", ["2026-01-01 05:00", "2026-02-01 05:00"]),
        ("*/30,5 0 * * *", "2026-01-01", ["2026-01-01 00:05", "2026-01-01 00:30"]),
        # Leap days, also over a century that has none.
        ("0 0 29 2 *", "2096-02-29", ["2104-02-29 00:00", "2108-02-29 00:00"]),
        ("0 0 29 FEB MON", "2028-02-28T12:00", ["2028-02-29 00:00", "2029-02-05 00:00"]),
        # Ends of months.
        ("0 0 31 * *", "2026-01-31", ["2026-03-31 00:00", "2026-05-31 00:00"]),
        ("0 0 30,31 2,3 *", "2026-01-01", ["2026-03-30 00:00", "2026-03-31 00:00"]),
        ("0 0 L * *", "2028-01-31", ["2028-02-29 00:00", "2028-03-31 00:00"]),
        ("0 0 15,l 2 *", "2026-01-31", ["2026-02-15 00:00", "2026-02-28 00:00"]),
        # Weekdays.
        ("0 0 * * 0", "2026-10-01", ["2026-10-04 00:00", "2026-10-11 00:00"]),
        ("0 0 * * 7", "2026-10-01", ["2026-10-04 00:00", "2026-10-11 00:00"]),
        ("0 0 * * sun", "2026-10-01", ["2026-10-04 00:00", "2026-10-11 00:00"]),
        ("0 0 * * SAT-SUN", "2026-10-01", ["2026-10-03 00:00", "2026-10-04 00:00"]),
        ("0 0 * * 5-7/2", "2026-10-01", ["2026-10-02 00:00", "2026-10-04 00:00"]),
        ("0 0 * Oct Mon-Fri", "2026-10-30", ["2027-10-01 00:00", "2027-10-04 00:00"]),
        ("0 0 * * MON#1", "2026-10-01", ["2026-10-05 00:00", "2026-11-02 00:00"]),
        ("0 0 * * 1#1,MON#5", "2026-10-05", ["2026-11-02 00:00", "2026-11-30 00:00"]),
        ("0 0 * 2 MON#5", "2026-10-01", ["2044-02-29 00:00", "2072-02-29 00:00"]),
        # Day or weekday: either is enough; both when one begins with a star.
        ("0 0 13 * FRI", "2026-10-09", ["2026-10-13 00:00", "2026-10-16 00:00"]),
        ("0 0 1-31 * FRI", "2026-10-09", ["2026-10-10 00:00", "2026-10-11 00:00"]),
        ("0 0 13 * 0-7", "2026-10-09", ["2026-10-10 00:00", "2026-10-11 00:00"]),
        ("0 0 L * FRI", "2026-10-24", ["2026-10-30 00:00", "2026-10-31 00:00"]),
        ("0 0 */2 * FRI", "2026-10-09", ["2026-10-23 00:00", "2026-11-13 00:00"]),
        # Impossible on its own, but the weekday is enough.
        ("0 0 31 2 MON", "2026-02-25", ["2027-02-01 00:00", "2027-02-08 00:00"]),
        # Seconds come first.
        ("30 0 3 * * *", "2026-01-01", ["2026-01-01 03:00:30", "2026-01-02 03:00:30"]),
        ("*/40 59 23 31 12 *", "2026-01-01", ["2026-12-31 23:59:00", "2026-12-31 23:59:40"]),
        # Names for whole patterns.
        ("@hourly", "2026-01-01T00:30", ["2026-01-01 01:00", "2026-01-01 02:00"]),
        (" @Daily ", "2026-01-01T00:30", ["2026-01-02 00:00", "2026-01-03 00:00"]),
        ("@midnight", "2026-01-01T00:30", ["2026-01-02 00:00", "2026-01-03 00:00"]),
        ("@weekly", "2026-10-01", ["2026-10-04 00:00", "2026-10-11 00:00"]),
        ("@monthly", "2026-01-01", ["2026-02-01 00:00", "2026-03-01 00:00"]),
        ("@yearly", "2026-01-01", ["2027-01-01 00:00", "2028-01-01 00:00"]),
        ("@annually", "2026-01-01", ["2027-01-01 00:00", "2028-01-01 00:00"]),
    ],
)
def test_a_pattern_fires_at_these_times(pattern: str, after: str, expected: list[str]) -> None:
    assert times(pattern, after, 2) == expected


def test_a_fire_time_is_later_than_the_time_it_is_asked_for() -> None:
    every_second = CronSpec("* * * * * *")

    assert every_second.next_after(ms("2026-01-01T00:00:00.000")) == ms("2026-01-01T00:00:01")
    assert every_second.next_after(ms("2026-01-01T00:00:00.999")) == ms("2026-01-01T00:00:01")
    assert every_second.next_after(ms("2025-12-31T23:59:59.999")) == ms("2026-01-01T00:00:00")


@pytest.mark.parametrize(
    ("pattern", "is_fixed_time"),
    [
        ("30 2 * * *", True),
        ("0,30 1-4 * * *", True),
        ("*/5 30 2 * * *", True),
        ("@daily", True),
        ("30 * * * *", False),
        ("30 */2 * * *", False),
        ("*/10 2 * * *", False),
        ("0 */10 2 * * *", False),
        ("@hourly", False),
    ],
)
def test_a_star_in_minute_or_hour_makes_an_interval(pattern: str, is_fixed_time: bool) -> None:
    assert CronSpec(pattern).is_fixed_time is is_fixed_time


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("30 2 * * *", ["2024-03-31 03:00 +0200", "2024-04-01 02:30 +0200"]),
        # One instant is one fire time, however many times fell into the gap.
        ("0,30 2 * * *", ["2024-03-31 03:00 +0200", "2024-04-01 02:00 +0200"]),
        ("0,30 2,3 * * *", ["2024-03-31 03:00 +0200", "2024-03-31 03:30 +0200"]),
        ("30 2 31 3 *", ["2024-03-31 03:00 +0200", "2025-03-31 02:30 +0200"]),
    ],
)
def test_a_fixed_time_in_a_gap_fires_once_right_after_it(pattern: str, expected: list[str]) -> None:
    """E4."""
    assert times(pattern, "2024-03-31", 2, "Europe/Berlin") == expected


def test_seconds_in_a_gap_fire_once_right_after_it() -> None:
    """E4."""
    expected = ["2024-03-31 03:00:00 +0200", "2024-04-01 02:30:00 +0200"]

    assert times("*/10 30 2 * * *", "2024-03-31", 2, "Europe/Berlin") == expected


def test_a_fixed_time_that_comes_twice_fires_the_first_time() -> None:
    """E5."""
    expected = ["2024-10-27 02:30 +0200", "2024-10-28 02:30 +0100"]

    assert times("30 2 * * *", "2024-10-27", 2, "Europe/Berlin") == expected


def test_a_fixed_time_does_not_fire_again_in_the_second_pass() -> None:
    """E5."""
    in_the_second = "2024-10-27T02:10+01:00"

    assert times("30 2,3 * * *", in_the_second, 1, "Europe/Berlin") == ["2024-10-27 03:30 +0100"]


def test_an_interval_fires_in_each_real_quarter_hour() -> None:
    """E5."""
    spring = times("*/15 * * * *", "2024-03-31T01:29", 4, "Europe/Berlin")
    autumn = times("*/15 2 * * *", "2024-10-27", 9, "Europe/Berlin")

    assert [time[11:] for time in spring] == [
        "01:30 +0100",
        "01:45 +0100",
        "03:00 +0200",
        "03:15 +0200",
    ]
    assert [time[11:] for time in autumn] == [
        *(f"02:{minute:02} +0200" for minute in (0, 15, 30, 45)),
        *(f"02:{minute:02} +0100" for minute in (0, 15, 30, 45)),
        "02:00 +0100",
    ]


def test_an_interval_does_not_fire_at_a_time_that_is_skipped() -> None:
    assert times("*/30 2 * * *", "2024-03-31", 1, "Europe/Berlin") == ["2024-04-01 02:00 +0200"]
    assert times("0 * * * *", "2024-03-31T01:30", 1, "Europe/Berlin") == ["2024-03-31 03:00 +0200"]


def test_an_interval_of_one_day_a_year_fires_in_both_passes() -> None:
    """The next year's time is found first, and has the offset of the first pass."""
    autumn = times("*/30 1 1 11 *", "2020-11-01", 5, "America/New_York")

    assert autumn == [
        "2020-11-01 01:00 -0400",
        "2020-11-01 01:30 -0400",
        "2020-11-01 01:00 -0500",
        "2020-11-01 01:30 -0500",
        "2021-11-01 01:00 -0400",
    ]


@pytest.mark.parametrize(
    ("tz", "day"),
    [
        ("Africa/Cairo", "2023-04-28"),
        ("America/Sao_Paulo", "2018-11-04"),
        ("Asia/Beirut", "2022-03-27"),
        ("America/Asuncion", "2022-10-02"),
    ],
)
def test_a_day_without_midnight_fires_at_its_first_instant(tz: str, day: str) -> None:
    """E6."""
    before = datetime.fromisoformat(day) - timedelta(hours=12)

    fires = times("0 0 * * *", before.isoformat(), 2, tz)

    assert fires[0].startswith(f"{day} 01:00")
    assert fires[1].endswith(fires[0][-5:])
    assert " 00:00 " in fires[1]


@pytest.mark.parametrize(
    ("tz", "pattern", "after", "expected"),
    [
        # Half an hour.
        ("Australia/Lord_Howe", "15 2 * * *", "2023-10-01", "2023-10-01 02:30 +1100"),
        ("Australia/Lord_Howe", "45 1 * * *", "2023-04-02", "2023-04-02 01:45 +1100"),
        # Two hours.
        ("Antarctica/Troll", "30 1,2 * * *", "2023-03-26", "2023-03-26 03:00 +0200"),
        ("Antarctica/Troll", "30 1,2 * * *", "2023-10-29", "2023-10-29 01:30 +0200"),
        # Summer time is the standard there, and ends for Ramadan.
        ("Africa/Casablanca", "30 2 * * *", "2023-03-19", "2023-03-19 02:30 +0100"),
        ("Africa/Casablanca", "30 2 * * *", "2023-04-23", "2023-04-23 03:00 +0100"),
        ("Europe/Dublin", "30 1 * * *", "2023-03-26", "2023-03-26 02:00 +0100"),
        ("Europe/Dublin", "30 1 * * *", "2023-10-29", "2023-10-29 01:30 +0100"),
        # The calendar skipped a day.
        ("Pacific/Apia", "0 12 30 12 *", "2011-12-29", "2011-12-31 00:00 +1400"),
        ("Pacific/Kwajalein", "0 12 21 8 *", "1993-08-20", "1993-08-22 00:00 +1200"),
        # The last hour of the year came twice.
        ("Asia/Dhaka", "30 23 * * *", "2009-12-31T23:31+07:00", "2010-01-01 23:30 +0600"),
    ],
)
def test_odd_changes_follow_the_same_rule(tz: str, pattern: str, after: str, expected: str) -> None:
    assert times(pattern, after, 1, tz) == [expected]


class NewYear(tzinfo):
    """Clocks that go back from +2 to +1 half an hour before New Year of UTC, 2030."""

    change = datetime.fromisoformat("2029-12-31T23:30")

    def fromutc(self, dt: datetime) -> datetime:
        return dt + timedelta(hours=2 if dt.replace(tzinfo=None) < self.change else 1)

    def utcoffset(self, dt: datetime | None) -> None: ...

    def dst(self, dt: datetime | None) -> None: ...

    def tzname(self, dt: datetime | None) -> None: ...


def test_an_hour_that_is_repeated_over_new_year_is_not_fired_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    zone = NewYear()
    monkeypatch.setattr(cron, "_zone", lambda name: zone)

    # 01:15 comes at 23:15 and at 00:15.
    fires = CronSpec("15 1 * * *").upcoming(ms("2029-12-31T20:00+00:00"), 2)

    assert fires == [ms("2029-12-31T23:15+00:00"), ms("2030-01-02T00:15+00:00")]


@pytest.mark.parametrize(
    ("pattern", "hint"),
    [
        ("59/15 * * * *", r"minute '59/15' .* write 59 for this minute alone, \*/15$"),
        ("5/15 * * * *", r"write 5 for this minute alone, \*/15, or 5-59/15$"),
        ("*/90 * * * *", "a step from 0 to 59 must be 1 to 59"),
        ("*/0 * * * *", "a step from 0 to 59 must be 1 to 59"),
        ("0-10/11 * * * *", "a step from 0 to 10 must be 1 to 10"),
        ("0 */24 * * *", "a step from 0 to 23 must be 1 to 23"),
        ("5-5 * * * *", "write 5 instead"),
        ("0 0 * JAN-1 *", "write JAN instead"),
        ("0 22-2 * * *", "write 22-23,0-2"),
        ("0 23-0 * * *", "write 23,0$"),
        ("0 0 * * FRI-MON", "write 5-6,0-1"),
        ("0 0 * * 7-2", "write 0-2"),
        ("* * * *", "it has 4 fields: give 5"),
        ("0 0 1 1 * * 2030", "it has 7 fields: give 5"),
        ("", "it has 0 fields"),
        ("@reboot", "it has 1 field: .*@hourly"),
        ("60 * * * *", r"minute '60' of schedule '60 \* \* \* \*' is not allowed: give \* or 0-59"),
        ("0 24 * * *", r"hour '24' .* 0-23"),
        ("0 0 0 * *", r"day '0' .* 1-31.* L for the last"),
        ("0 0 * 13 *", r"month '13' .* 1-12 or JAN-DEC"),
        ("0 0 * * 8", r"weekday '8' .* 0-7 or SUN-SAT.* MON#2"),
        ("60 0 0 * * *", r"second '60' .* 0-59"),
        ("-1 * * * *", "minute '-1'"),
        ("1.5 * * * *", r"minute '1\.5'"),
        ("*-5 * * * *", r"minute '\*-5'"),
        ("1,,2 * * * *", "minute '1,,2'"),
        ("*,5 * * * *", r"write \* alone"),
        ("5,*/30 * * * *", r"the step of \* first"),
        ("0 0 * * MONDAY", "weekday 'MONDAY'"),
        ("MON 0 * * *", "minute 'MON'"),
        ("0 0 ? * *", r"write \* instead of \?"),
        ("H * * * *", "minute 'H'"),
        ("R * * * *", "minute 'R'"),
        ("H(0-5) * * * *", "minute"),
        ("0 0 15W * *", "day '15W'"),
        ("0 0 L-3 * *", "day 'L-3'"),
        ("0 0 1-L * *", "day '1-L'"),
        ("L * * * *", "minute 'L'"),
        ("0 0 * * L5", "weekday 'L5'"),
        ("0 0 * * 5L", "weekday '5L'"),
        ("0 0 * * MON#6", "a weekday and 1 to 5"),
        ("0 0 * * MON#L", "a weekday and 1 to 5"),
        ("0 0 * * *#1", "a weekday and 1 to 5"),
        ("0 0 * * MON-FRI#1", "a weekday and 1 to 5"),
        ("0 0 * * MON#1,TUE", "use two schedules"),
        ("0 0 1 * MON#1", "use two schedules"),
        ("0 0 * * *\n", "on one line"),
        ("\u0663 * * * *", "ASCII"),
        ("0\u00a00 * * *", "ASCII"),
        ("1," * 200, "it has 400 characters, the limit is 256"),
        (None, "give a string"),
        (5, "give a string"),
    ],
)
def test_a_pattern_is_refused_with_what_to_write_instead(pattern: str, hint: str) -> None:
    with pytest.raises(InvalidSchedule, match=hint):
        CronSpec(pattern)


@pytest.mark.parametrize("pattern", ["0 0 31 2 *", "0 0 30,31 FEB *", "0 0 31 4,6,9,11 *"])
def test_a_date_that_never_comes_is_refused(pattern: str) -> None:
    """E7."""
    with pytest.raises(InvalidSchedule, match="no month that it names has such a day"):
        CronSpec(pattern, "Europe/Berlin")


def test_an_interval_that_clocks_skip_each_year_is_refused() -> None:
    pattern = "*/10 2 * 3 SUN#2"

    assert times(pattern, "2024-03-01", 1) == ["2024-03-10 02:00"]
    with pytest.raises(InvalidSchedule, match="clocks of America/New_York always skip that time"):
        CronSpec(pattern, "America/New_York")


@pytest.mark.parametrize(
    "tz", ["", "Europe", "Europe/Nowhere", "../etc/passwd", "/etc/localtime", "localtime", "a\0b"]
)
def test_an_unknown_time_zone_is_refused(tz: str) -> None:
    with pytest.raises(InvalidSchedule, match="give an IANA name such as 'Europe/Berlin'"):
        CronSpec("0 0 * * *", tz)


@pytest.mark.parametrize("tz", [None, 1, ["UTC"]])
def test_a_time_zone_that_is_no_text_is_refused(tz: str) -> None:
    with pytest.raises(InvalidSchedule, match="give a string"):
        CronSpec("0 0 * * *", tz)


def test_a_machine_without_time_zone_data_is_told_what_to_install() -> None:
    program = """if True:
        import sys
        sys.modules["tzdata"] = None
        from processors.schedules.cron import CronSpec, InvalidSchedule
        assert CronSpec("0 0 * * *").next_after(0) == 86_400_000
        try:
            CronSpec("0 0 * * *", "Europe/Berlin")
        except InvalidSchedule as error:
            print(error)
    """
    # The variable takes the system's data away.
    environment = {**os.environ, "PYTHONTZPATH": ""}

    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment,
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )

    assert "tz 'Europe/Berlin' is not allowed" in done.stdout
    assert "update tzdata" in done.stdout


def test_a_refused_schedule_is_invalid_input() -> None:
    with pytest.raises(InvalidInput):
        CronSpec("nonsense")


def test_times_before_1970_and_beyond_9000_do_not_break_it() -> None:
    spec = CronSpec("@daily", "Europe/Berlin")

    assert spec.next_after(-(10**18)) == spec.next_after(-1)
    assert spec.next_after(10**18) is None
    assert spec.upcoming(10**18, 3) == []
    assert len(spec.missed(-(10**18), 10**18, 2)) == 2
    assert spec.missed(10**18, 10**18, 2) == []


def test_missed_has_the_newest_in_order_and_the_end_but_not_the_beginning() -> None:
    hourly = CronSpec("@hourly", "Europe/Berlin")
    begin, end = ms("2026-01-01T00:00+00:00"), ms("2026-01-01T03:00+00:00")

    assert hourly.missed(begin, end, 10) == [begin + hours * 3_600_000 for hours in (1, 2, 3)]
    assert hourly.missed(begin, end, 2) == [begin + hours * 3_600_000 for hours in (2, 3)]
    assert hourly.missed(begin, end, 0) == []
    assert hourly.missed(end, begin, 10) == []
    assert hourly.missed(end, end, 10) == []


@pytest.mark.parametrize("tz", ["UTC", "Europe/Berlin"])
def test_missed_looks_only_at_the_fire_times_that_it_returns(
    tz: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fifty years of seconds: 1.8 billion fire times."""
    looked: list[int | None] = []
    last = cron._Walls.last

    def counted(walls: cron._Walls, low: int, until: int) -> int | None:
        looked.append(last(walls, low, until))
        return looked[-1]

    monkeypatch.setattr(cron._Walls, "last", counted)

    fires = CronSpec("* * * * * *", tz).missed(0, NOW, 5)

    assert fires == [NOW // 1000 * 1000 - 1000 * back for back in (4, 3, 2, 1, 0)]
    assert len(looked) <= 6


def test_equal_schedules_are_equal_and_travel() -> None:
    spec = CronSpec("0 3 * * *", "Europe/Berlin")

    assert pickle.loads(pickle.dumps(spec)) == spec
    assert {spec: 1}[CronSpec("0 3 * * *", "Europe/Berlin")] == 1
    assert spec != CronSpec("0 3 * * *")


def test_another_thread_may_ask_the_same_schedule_meanwhile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spec = CronSpec("*/7 * * * *", "Europe/Berlin")
    expected = spec.next_after(NOW)
    set_current = croniter.set_current
    others = iter([NOW + 86_400_000])

    def interrupted(position: croniter, *args: Any, **kwargs: Any) -> None:
        set_current(position, *args, **kwargs)
        for other in others:
            spec.next_after(other)

    monkeypatch.setattr(croniter, "set_current", interrupted)

    assert spec.next_after(NOW) == expected
    assert not list(others)


def a_range(low: int, high: int) -> st.SearchStrategy[str]:
    """Return ranges, half of them with a step."""
    return (
        st.tuples(st.integers(low, high - 1), st.integers(low + 1, high), st.integers(0, high))
        .filter(lambda it: it[0] < it[1] and it[2] <= it[1] - it[0])
        .map(lambda it: f"{it[0]}-{it[1]}" + (f"/{it[2]}" if it[2] else ""))
    )


def a_list_of(low: int, high: int) -> st.SearchStrategy[str]:
    item = st.one_of(st.integers(low, high).map(str), a_range(low, high))
    # The step of a star comes first in its list.
    first = st.one_of(item, st.integers(1, high - low - 1).map("*/{}".format))
    others = st.lists(item, max_size=2)
    return st.tuples(first, others).map(lambda it: ",".join([it[0], *it[1]]))


def a_field(low: int, high: int, *others: str) -> st.SearchStrategy[str]:
    return st.one_of(st.just("*"), a_list_of(low, high), *(st.just(other) for other in others))


patterns = st.tuples(
    a_field(0, 59),
    a_field(0, 23),
    a_field(1, 31, "L", "15,L"),
    a_field(1, 12, "JAN-MAR"),
    a_field(0, 7, "MON-FRI", "FRI#2", "1#1,1#3"),
).map(" ".join)
zones = st.sampled_from(["UTC", "Europe/Berlin", "Africa/Cairo", "Australia/Lord_Howe"])
instants = st.integers(ms("2020-01-01"), ms("2030-01-01"))


def spec_of(pattern: str, tz: str) -> CronSpec:
    try:
        return CronSpec(pattern, tz)
    except InvalidSchedule:
        # 31 February, or # beside a day.
        reject()


@given(patterns, zones, instants)
@settings(max_examples=150, deadline=None)
def test_fire_times_only_go_forward_and_missed_finds_the_same(
    pattern: str, tz: str, start: int
) -> None:
    spec = spec_of(pattern, tz)

    fires = spec.upcoming(start, 8)

    assert all(earlier < later for earlier, later in pairwise([start, *fires]))
    assert spec.missed(start, fires[-1], 8) == fires
    assert spec.missed(start, fires[-1] - 1, 3) == fires[:-1][-3:]


@given(patterns, instants)
@settings(max_examples=150, deadline=None)
def test_patterns_mean_what_they_mean_to_cronsim(pattern: str, start: int) -> None:
    spec = spec_of(pattern, "UTC")

    their = CronSim(pattern, datetime.fromtimestamp(start // 1000, UTC))

    assert spec.upcoming(start, 6) == [int(at.timestamp()) * 1000 for at in islice(their, 6)]
