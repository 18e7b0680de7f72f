"""When an emit that added nothing asked for something else than the live job has."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from consumers.jobs.envelope import NewJob
from taskmanager.emit import duplicates
from taskmanager.emit.duplicates import Pace, differing
from taskmanager.handles.info import JobInfo
from taskmanager.options.request import requested

ADDED = datetime(2030, 1, 1, 12, tzinfo=UTC)


def emitted(**arguments: Any) -> NewJob:
    job = requested("remind", arguments)
    assert isinstance(job, NewJob)
    return job


def until(moment: datetime) -> NewJob:
    return emitted()._replace(due=str(round(moment.timestamp() * 1000)))


def live(**fields: Any) -> JobInfo:
    known = {"state": "waiting", "run": 1, "created_at": ADDED, "priority": 0}
    known |= {"event": "remind", "data": {}}
    return JobInfo("id", "default", **{**known, **fields})


def delayed(seconds: float, **fields: Any) -> JobInfo:
    """A job as Redis puts it off: not early by a part of a millisecond, and in no lane."""
    due_at = ADDED + timedelta(seconds=seconds, milliseconds=1)
    return live(state="delayed", due_at=due_at, **fields)


AN_HOUR_ON = ADDED + timedelta(hours=1)


@pytest.mark.parametrize(
    ("job", "there", "told"),
    [
        (emitted(), live(), []),
        (emitted(max_retries=3), live(options={"correlation_id": "c"}), []),
        (emitted(delay=0), live(), []),
        (emitted(delay=3600), delayed(3600), []),
        (emitted(delay=0.5), delayed(0.5), []),
        (emitted(delay=1), delayed(3600), ["delay 1 h instead of 1 s"]),
        (emitted(), delayed(90), ["delay 90 s instead of none"]),
        # Had it been given that delay, it would be over, or is not.
        (emitted(delay=60), live(state="running", created_at=ADDED - timedelta(minutes=2)), []),
        (emitted(delay=60), live(state="running"), ["delay none instead of 60 s"]),
        (emitted(delay=60), live(state="retrying", due_at=AN_HOUR_ON),
         ["delay none instead of 60 s"]),
        (until(AN_HOUR_ON), delayed(3600), []),
        (until(ADDED - timedelta(days=1)), live(), []),
        (until(AN_HOUR_ON), delayed(60),
         ["delay until 2030-01-01 12:01:00 UTC instead of until 2030-01-01 13:00:00 UTC"]),
        (emitted(priority=7), live(priority=7), []),
        (emitted(priority=100), live(), ["priority 0 instead of 100"]),
        (emitted(), live(priority=-5), ["priority -5 instead of 0"]),
        (emitted(priority=100, delay=60), delayed(60),
         ["priority 0 instead of 100"]),
        # Only a newer version knows it.
        (emitted(priority=100), live(priority=None), []),
        (emitted(timeout=30), live(options={"timeout": 30.0}), []),
        (emitted(timeout=30), live(), ["timeout none instead of 30 s"]),
        (emitted(), live(options={"timeout": 30.0}),
         ["timeout 30 s instead of none"]),
        (emitted(data=1), live(), ["different data"]),
        (emitted(), live(event="other"), ["event other instead of remind"]),
        (emitted(expires=60), live(options={"expires_ms": 60_000}), []),
        (emitted(expires=60), live(), ["expires none instead of 60 s"]),
        (emitted(expires=AN_HOUR_ON), live(options={"expires_at": 1_893_502_800_000}), []),
        (emitted(expires=60, priority=1), live(options={"expires_at": 1_893_502_800_000}),
         ["priority 0 instead of 1",
          "expires until 2030-01-01 13:00:00 UTC instead of 60 s"]),
        (emitted(requires=["a"]), live(options={"route": {"event": "remind", "requires": ["a"]}}),
         []),
        (emitted(requires=["gpu", "av1"], region="eu"), live(),
         ["requirements none instead of requires=av1+gpu region=eu"]),
    ],
)  # fmt: skip
def test_what_differs_is_told_with_both_values(
    job: NewJob, there: JobInfo, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(duplicates.time, "time", lambda: ADDED.timestamp())

    assert differing(job, there) == told


def test_turns_are_given_out_one_in_so_many_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(duplicates.time, "monotonic", lambda: now[0])
    pace = Pace(2.0)

    assert [pace.try_take(closing=False) for _ in range(3)] == [True, False, False]
    assert pace.until_free == 2.0
    now[0] = 102.0
    assert (pace.until_free, pace.try_take(closing=False)) == (0.0, True)
    # Clients that close share what is to spare, which comes back as slowly.
    assert [pace.try_take(closing=True) for _ in range(22)] == [True] * 20 + [False] * 2
    now[0] = 103.9
    assert pace.try_take(closing=True) is False
    now[0] = 105.9
    assert [pace.try_take(closing=True) for _ in range(3)] == [True, True, False]
