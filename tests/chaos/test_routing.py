"""Whatever the nemesis does, no job begins on a worker that may not run it, and none is lost.

CHAOS_ROUTING_JOBS says how many jobs a run has; 20000 is the whole form.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from consumers.jobs.routes import Profile, matches
from tests.chaos.depth import BINARIES, WHOLE
from tests.chaos.routing.rig import Plan, run
from tests.chaos.routing.verdict import Verdict, judge
from tests.chaos.routing.worker import MUTANTS
from tests.chaos.routing.world import PRIORITIES, ROUTES, Need, World, may, route_of, workers
from tests.chaos.snapshot import End, Snapshot
from tests.support.oracle import Record
from tests.support.servers import Binary

pytestmark = pytest.mark.timeout(1800 if WHOLE else 300)

JOBS = int(os.environ.get("CHAOS_ROUTING_JOBS", "20000" if WHOLE else "1500"))
GPU = Need("cut", requires=["c0"])


@pytest.mark.parametrize("binary", BINARIES[:1] if not WHOLE else BINARIES, ids=lambda it: it.id)
def test_jobs_begin_where_they_may_and_none_is_lost_in_a_storm(
    binary: Binary, tmp_path: Path
) -> None:
    verdict = run(Plan(binary, seed=1, jobs=JOBS), tmp_path)

    print(verdict)
    assert not verdict.violations, str(verdict)
    assert verdict.figures["starts"] >= JOBS


# The checks themselves


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_worker_that_does_not_look_at_what_is_required_is_found(
    mutant: str, tmp_path: Path
) -> None:
    verdict = run(Plan(BINARIES[0], seed=1, jobs=1500, mutant=mutant), tmp_path)

    assert verdict.figures["starts on a wrong worker"]


def test_every_route_of_a_world_is_met_by_some_worker_and_not_by_all() -> None:
    world = World(7)

    assert len({route_of(it).name for it in world.needs}) == ROUTES
    for need in world.needs:
        for priority in PRIORITIES:
            able = [it for it in workers().values() if may(it, it.capabilities, need, priority)]
            assert 0 < len(able) < 12


def test_the_oracle_and_the_engine_agree_on_who_may_run_what() -> None:
    """The oracle asks no code of the engine, so that it sees what is wrong in that."""
    for need in World(3).needs:
        for it in workers().values():
            levels = None if it.levels is None else frozenset(it.levels)
            profile = Profile(it.name, it.type, frozenset(it.capabilities), levels, it.region)
            for priority in PRIORITIES:
                expected = matches(route_of(need), profile) and profile.takes(priority)
                assert may(it, it.capabilities, need, priority) == expected


def record(what: str, **fields: Any) -> Record:
    return Record(
        **{
            "what": what, "who": "w0.1", "at": 1.0, "wall": 1.0, "job": "a", "queue": "here",
            "generation": 1, "delivery": 1, "attempt": 1, **fields,
        }
    )  # fmt: skip


def start(can: list[str], **fields: Any) -> Record:
    return record("start", detail=json.dumps(asdict(GPU)), on=json.dumps(can), **fields)


GOOD = [start(["c0"]), record("completed")]
ENDED = Snapshot([End("here", "a", 1, "completed", {})], completed={"here": 1})


def judged(
    records: list[Record],
    seen: Snapshot = ENDED,
    *,
    expected: Mapping[tuple[str, str], int] | None = None,
) -> Verdict:
    jobs = {("here", "a"): 1} if expected is None else expected
    return judge(World(1), records, seen, {}, expected=jobs, refused=[], faults=0)


def test_a_good_run_violates_nothing() -> None:
    assert judged(GOOD).violations == []


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (judged([start(["c1"]), record("completed")]), "able to"),
        (judged([start(["c0"], who="w9.1"), record("completed")]), "w9.1 began a"),
        (judged([*GOOD, record("completed", generation=2)]), "committed twice"),
        (judged(GOOD, replace(ENDED, completed={"here": 2})), "2 commits of 1 jobs"),
        (judged(GOOD, replace(ENDED, ends=[])), "was lost"),
        (judged(GOOD, expected={}), "was never emitted"),
        (judged(GOOD, replace(ENDED, left={"lane": 1})), "1 left in lane"),
        (judged(GOOD, replace(ENDED, stray=["k is no key of ours"])), "no key of ours"),
        (judged([*GOOD, record("died", detail="it ended with 1")]), "it ended with 1"),
        (
            judged(GOOD, replace(ENDED, ends=[*ENDED.ends, End("here", "a", 2, "dead", "failed")])),
            "is dead: failed",
        ),
    ],
)
def test_what_is_wrong_is_seen(wrong: Verdict, said: str) -> None:
    assert any(said in it for it in wrong.violations)
