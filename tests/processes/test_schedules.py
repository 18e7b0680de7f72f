"""G9 and rows E8-E11 over real worker processes: each fire time gives exactly one job."""

from __future__ import annotations

import os
import random
import time
from collections import Counter

import pytest

from processors.schedules.schedule import fire_of
from tests.processes.stage import LEASE, SLACK, Stage
from tests.support.waiting import eventually

pytestmark = pytest.mark.timeout(300)

WORKERS = 16
SECONDS = 30


def fire_times(stage: Stage) -> list[int]:
    """Return the fire times (ms) of the jobs that ran to their end, in order."""
    found = [fire_of(line.job) for line in stage.witness.finished()]
    return sorted({fire[1] for fire in found if fire is not None})


def without_gap(kept: dict[int, tuple[str, str]]) -> dict[int, tuple[str, str]]:
    """Return what is kept, nothing while a fire time between the first and the last is missing."""
    whole = list(range(min(kept), max(kept) + 1, 1000))
    return kept if sorted(kept) == whole else {}


def results(stage: Stage) -> dict[int, tuple[str, str]]:
    """Return state and value of what is kept of each fire time."""
    with stage.server.client(decode_responses=True) as client:
        keys = list(client.scan_iter(f"{stage.keys.base}result:cron:*", count=1000))
        kept = {key.rpartition(":")[2]: client.get(key).split(" ", 2) for key in keys}
    return {int(fire_ms): (state, value) for fire_ms, (_, state, value) in kept.items()}


def test_g9_row_e8_sixteen_workers_half_of_them_killed_fire_each_time_exactly_once(
    stage: Stage,
) -> None:
    seed = int(os.environ.get("SEED", random.randrange(2**32)))
    print(f"SEED={seed}")
    dice = random.Random(seed)
    workers = [stage.starting("scheduled", lease=LEASE) for _ in range(WORKERS)]
    for worker in workers:
        worker.wait_for_line("worker .* started")
    first = eventually(lambda: fire_times(stage), SLACK)[0]
    deaths = sorted(dice.uniform(0, SECONDS) for _ in range(WORKERS // 2))
    began = time.monotonic()
    for at, worker in zip(deaths, dice.sample(workers, WORKERS // 2), strict=True):
        while time.monotonic() - began < at:
            time.sleep(0.01)
        worker.kill()
    last = first + SECONDS * 1000
    eventually(lambda: fire_times(stage)[-1] > last, SECONDS + SLACK)
    # What a killed worker had begun is run again elsewhere, as the same job.
    wanted = list(range(first, last + 1, 1000))
    eventually(lambda: set(wanted) <= set(fire_times(stage)), SLACK)

    for worker in workers:
        worker.terminate()
    for worker in workers:
        worker.wait()
    fired = [fire_ms for fire_ms in fire_times(stage) if fire_ms <= last]
    assert fired == wanted
    # One job each: whoever ran it, and however often, it was of one generation.
    generations = {fire_ms: value for fire_ms, (_, value) in results(stage).items()}
    assert len(set(generations.values())) == len(generations)
    with stage.server.client() as client:
        emitted = int(client.hget(stage.keys.stats, "emitted") or 0)
        fires = int(client.hget(stage.keys.schedule("tick"), "fires") or 0)
    assert emitted == fires == (fire_times(stage)[-1] - first) // 1000 + 1 + unrun(stage)


def unrun(stage: Stage) -> int:
    """Return how many fire times were emitted after the last one that ran, and before the first."""
    with stage.server.client(decode_responses=True) as client:
        fired = int(client.hget(stage.keys.schedule("tick"), "fired"))
    return (fired - fire_times(stage)[-1]) // 1000


def test_g9_row_e11_a_definition_that_changes_while_old_workers_run_never_fires_twice(
    stage: Stage,
) -> None:
    for version in (1, 1, 2, 1):
        # The last one is an old worker that starts again after the deploy.
        environment = {"DEFINITION": f"v{version}", "VERSION": str(version)}
        stage.worker("versioned", told=environment, lease=LEASE)
        count = len(fire_times(stage))
        eventually(lambda count=count: len(fire_times(stage)) >= count + 3, SLACK)

    ran = Counter(line.job for line in stage.witness.started())
    assert max(ran.values()) == 1
    # The job of a fire time may still run, on another worker, when that of the next has ended.
    kept = eventually(lambda: without_gap(results(stage)), SLACK)
    times = sorted(kept)
    told = [kept[fire_ms][1].strip('"') for fire_ms in times]
    # The old one, then the new one for good.
    assert told == sorted(told)
    assert {told[0], told[-1]} == {"v1", "v2"}


def test_g9_row_e10_what_a_scheduler_did_not_fire_before_it_died_the_next_one_fires(
    stage: Stage,
) -> None:
    dying = stage.worker("scheduled", lease=LEASE, cut="fire.before_send")
    dying.wait()
    assert fire_times(stage) == []
    with stage.server.client(decode_responses=True) as client:
        slot = int(client.hget(stage.keys.schedule("tick"), "slot"))

    stage.worker("scheduled", lease=LEASE)
    eventually(lambda: len(fire_times(stage)) >= 3, SLACK)

    times = fire_times(stage)
    assert times[0] == slot
    assert times == list(range(slot, times[-1] + 1, 1000))


def test_g9_row_e10_a_scheduler_that_dies_behind_the_fire_does_not_make_it_twice(
    stage: Stage,
) -> None:
    dying = stage.worker("scheduled", lease=LEASE, cut="fire.answered")
    dying.wait()
    with stage.server.client(decode_responses=True) as client:
        fired = int(client.hget(stage.keys.schedule("tick"), "fired"))

    stage.worker("scheduled", lease=LEASE)
    eventually(lambda: len(fire_times(stage)) >= 3, SLACK)

    times = fire_times(stage)
    assert times[0] == fired
    assert times == list(range(fired, times[-1] + 1, 1000))
    # The one that died may have begun what it fired: that is delivered once more.
    started = Counter(line.job for line in stage.witness.started() if line.delivery == 1)
    assert max(started.values()) == 1
