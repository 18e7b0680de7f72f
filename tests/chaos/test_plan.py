"""A schedule of faults is made from its seed alone, and can be carried out."""

from __future__ import annotations

import random
from collections import defaultdict
from itertools import pairwise

import pytest

from tests.chaos.nemesis import ACTS
from tests.chaos.plan import FAULTS, PROFILES, Dice, Step, excuses, plan
from tests.support.oracle import Record

WORKERS, GUESTS, PRODUCERS, IN_LINE = ["w1", "w2", "w3"], ["w3"], ["p1", "p2"], ["line"]
ENDS = {"pause": {"resume"}, "refuse": {"pass"}, "swallow": {"pass", "pass-anew"}}
LOSES = {"flush-all", "kill-redis"}


def schedule(profile: str = "storm", seed: int = 1, seconds: float = 60.0) -> list[Step]:
    return plan(
        PROFILES[profile],
        seed=seed, seconds=seconds, lease=2.0,
        workers=WORKERS, guests=GUESTS, producers=PRODUCERS, in_line=IN_LINE,
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
    assert {step.on for step in steps} <= {*WORKERS, *IN_LINE, *PRODUCERS, ""}


def test_a_process_has_one_fault_at_a_time() -> None:
    steps = defaultdict[str, list[Step]](list)
    for step in schedule():
        steps[step.on].append(step)

    for process, own in steps.items():
        for begin, end in pairwise(own):
            if begin.act in ENDS:
                assert end.act in ENDS[begin.act], f"{process}: {begin}, then {end}"


@pytest.mark.parametrize("seconds", [15.0, 60.0])
@pytest.mark.parametrize("seed", range(1, 11))
def test_no_fault_of_a_storm_is_left_out_by_chance(seed: int, seconds: float) -> None:
    met = {step.act for step in schedule(seed=seed, seconds=seconds)}

    # How a half-open line ends is one of two ways; what loses data is for the other profile;
    # what a short run has spoiled may be cleared when it is over.
    assert met | {"pass-anew", "flush-all", "clear"} == ACTS.keys()


@pytest.mark.parametrize("seed", range(1, 11))
def test_replies_are_lost_that_the_process_asks_for_and_only_for_a_while(seed: int) -> None:
    steps = schedule(seed=seed)
    lost = [step for step in steps if step.act == "lose-reply"]
    kept = {(step.on, step.at) for step in steps if step.act == "keep-replies"}

    assert {it.word for it in lost if it.on in PRODUCERS} == {"emit"}
    assert {it.word for it in lost if it.on in WORKERS} >= {"settle", "XREADGROUP", "renew"}
    assert not {it.word for it in lost if it.on in WORKERS} & {"emit"}
    assert {it.word for it in lost if it.on in IN_LINE} <= {
        "settle", "XREADGROUP", "renew", "open",
    }  # fmt: skip
    over = [it for it in lost if round(it.at + it.span, 2) < 60.0]
    assert all((it.on, round(it.at + it.span, 2)) in kept for it in over)


@pytest.mark.parametrize(("seconds", "quiet"), [(60.0, 15.0), (600.0, 15.0), (12.0, 4.0)])
@pytest.mark.parametrize("seed", range(1, 6))
def test_redis_loses_data_and_at_last_keeps_them(seed: int, seconds: float, quiet: float) -> None:
    lost = [step for step in schedule("loss", seed, seconds) if step.act in LOSES]

    assert {step.act for step in lost} == LOSES
    assert max(step.at for step in lost) < seconds - quiet


def test_each_profile_has_faults_that_exist_and_a_storm_has_all_that_lose_nothing() -> None:
    for profile in PROFILES.values():
        assert profile.faults.keys() <= FAULTS.keys()
    for_mutants = {"lost-settle", "lost-emit", "meta-spoiled"}
    assert PROFILES["storm"].faults.keys() == FAULTS.keys() - for_mutants - {"all-flushed"}


def test_the_steps_of_a_fault_begin_at_once() -> None:
    for name, fault in FAULTS.items():
        for seed in range(20):
            steps = fault.draw(Dice(random.Random(seed), 2.0))
            assert min(step.at for step in steps) == 0.0, name


def fault(detail: str) -> Record:
    return Record(what="fault", who="rig.1", at=0.0, wall=0.0, detail=detail)


@pytest.mark.parametrize("act", [*ACTS, "stall"])
def test_of_every_fault_it_is_known_what_it_explains(act: str) -> None:
    assert excuses(fault(act)) <= {"rerun", "late", "loss", "spoils"}


@pytest.mark.parametrize(
    "act",
    [
        "flush-scripts", "fill-memory", "free-memory", "kill-clients pubsub", "latency", "slices",
        "bandwidth", "freeze-redis", "lose-reply settle", "lose-reply renew", "reset", "pass",
    ],
)  # fmt: skip
def test_what_is_harmless_explains_no_second_run_and_no_loss(act: str) -> None:
    assert excuses(fault(act)) <= {"late"}


def test_only_what_empties_redis_explains_a_loss() -> None:
    assert {act for act in ACTS if "loss" in excuses(fault(act))} == LOSES
