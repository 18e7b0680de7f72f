"""A schedule of faults is made from its seed alone, and can be carried out."""

from __future__ import annotations

import random
from collections import defaultdict
from itertools import pairwise

import pytest

from tests.chaos.nemesis import ACTS
from tests.chaos.plan import FAULTS, PROFILES, Dice, Step, plan

WORKERS, PRODUCERS = ["w1", "w2"], ["p1"]
ENDS = {"pause": {"resume"}, "refuse": {"pass"}, "swallow": {"pass", "pass-anew"}}


def schedule(profile: str = "storm", seed: int = 1, seconds: float = 60.0) -> list[Step]:
    return plan(
        PROFILES[profile],
        seed=seed, seconds=seconds, lease=2.0, workers=WORKERS, producers=PRODUCERS,
    )  # fmt: skip


def test_a_seed_gives_the_same_schedule_again_and_another_one_another() -> None:
    assert schedule(seed=7) == schedule(seed=7)
    assert schedule(seed=7) != schedule(seed=8)


@pytest.mark.parametrize("profile", PROFILES)
def test_every_step_is_in_time_and_in_order_and_known_to_the_nemesis(profile: str) -> None:
    steps = schedule(profile, seconds=30.0)

    assert steps == sorted(steps)
    assert all(0 <= step.at < 30.0 for step in steps)
    assert {step.act for step in steps} <= ACTS.keys()
    assert {step.on for step in steps} <= {*WORKERS, *PRODUCERS, ""}


def test_a_process_has_one_fault_at_a_time() -> None:
    steps = defaultdict[str, list[Step]](list)
    for step in schedule():
        steps[step.on].append(step)

    for process, own in steps.items():
        for begin, end in pairwise(own):
            if begin.act in ENDS:
                assert end.act in ENDS[begin.act], f"{process}: {begin}, then {end}"


def test_each_profile_has_faults_that_exist_and_a_storm_has_all_that_lose_nothing() -> None:
    for profile in PROFILES.values():
        assert profile.faults.keys() <= FAULTS.keys()
    for_mutants = {"cut-off", "lost-settle", "lost-emit"}
    assert PROFILES["storm"].faults.keys() == FAULTS.keys() - for_mutants - {"all-flushed"}


def test_the_steps_of_a_fault_begin_at_once() -> None:
    for name, fault in FAULTS.items():
        for seed in range(20):
            steps = fault.draw(Dice(random.Random(seed), 2.0))
            assert min(step.at for step in steps) == 0.0, name
