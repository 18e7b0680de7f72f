"""The faults of a run: what happens when to whom, all of it from a seed."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

# What a fault may concern.
WORKER, CLIENT, REDIS = "worker", "client", "redis"


@dataclass(frozen=True, slots=True, order=True)
class Step:
    """Something the nemesis does ``at`` seconds after the start of its work.

    act is a name in nemesis.ACTS, on the process that it concerns (empty:
    Redis, and with it everybody), value and word what the act is given. span
    says for how many seconds the fault goes on.
    """

    at: float
    act: str
    on: str = ""
    value: float = 0.0
    word: str = ""
    span: float = 0.0

    def __str__(self) -> str:
        told = [f"{self.at:7.2f}  {self.act}", self.on, self.word]
        told += [f"{self.value:g}"] if self.value else []
        told += [f"for {self.span:.2f} s"] if self.span else []
        return " ".join(part for part in told if part)


@dataclass(frozen=True, slots=True)
class Dice:
    """What faults are drawn with; lease is in seconds."""

    rng: random.Random
    lease: float

    def between(self, least: float, most: float) -> float:
        """Return a number of seconds, rounded so that a schedule can be read."""
        return round(self.rng.uniform(least, most), 2)

    def leases(self, least: float, most: float) -> float:
        """Return some leases, in seconds."""
        return round(self.lease * self.rng.uniform(least, most), 2)


# Steps of one fault; their times count from its beginning.
Draw = Callable[[Dice], list[Step]]


@dataclass(frozen=True, slots=True)
class Fault:
    """concerns says on whom it may fall."""

    concerns: str
    draw: Draw


def _lasting(begin: str, end: str, least: float, most: float, **more: float) -> Draw:
    """Return a fault that begins and ends, some leases later."""

    def draw(dice: Dice) -> list[Step]:
        span = dice.leases(least, most)
        return [Step(0.0, begin, span=span, **more), Step(span, end)]

    return draw


def _once(act: str, **more: str) -> Draw:
    return lambda dice: [Step(0.0, act, **more)]


def _killed(act: str) -> Draw:
    def draw(dice: Dice) -> list[Step]:
        span = dice.between(0.2, 2.0)
        return [Step(0.0, act, span=span), Step(span, "start")]

    return draw


def _lost_replies(*requests: str) -> Draw:
    def draw(dice: Dice) -> list[Step]:
        times, request = dice.rng.randint(1, 3), dice.rng.choice(requests)
        return [Step(0.0, "lose-reply", value=times, word=request)]

    return draw


def _narrow(dice: Dice) -> list[Step]:
    span = dice.between(0.5, 2.0)
    return [Step(0.0, "bandwidth", value=10_000, span=span), Step(span, "pass")]


def _slow(dice: Dice) -> list[Step]:
    span = dice.between(0.5, 3.0)
    return [Step(0.0, "latency", value=dice.between(0.02, 0.5), span=span), Step(span, "pass")]


def _sliced(dice: Dice) -> list[Step]:
    span = dice.between(0.2, 1.0)
    return [Step(0.0, "slices", span=span), Step(span, "pass")]


def _swallowed(dice: Dice) -> list[Step]:
    # Half of the time the connections come to an end with it. Else they stay
    # dead until the client gives them up.
    span, end = dice.leases(0.3, 2.0), dice.rng.choice(("pass", "pass-anew"))
    return [Step(0.0, "swallow", span=span), Step(span, end)]


def _restarted(dice: Dice) -> list[Step]:
    span = dice.between(0.05, 1.0)
    return [Step(0.0, "kill-redis", span=span), Step(span, "start-redis")]


def _frozen(dice: Dice) -> list[Step]:
    span = dice.leases(0.1, 0.6)
    return [Step(0.0, "freeze-redis", value=span, span=span)]


def _full(dice: Dice) -> list[Step]:
    span = dice.between(0.3, 2.0)
    return [Step(0.0, "fill-memory", span=span), Step(span, "free-memory")]


def _group_lost(dice: Dice) -> list[Step]:
    return [Step(0.0, "destroy-group", value=dice.rng.randint(0, 999) / 1000)]


def _clients_killed(dice: Dice) -> list[Step]:
    return [Step(0.0, "kill-clients", word=dice.rng.choice(("normal", "normal", "pubsub")))]


FAULTS: Mapping[str, Fault] = {
    "kill": Fault(CLIENT, _killed("kill")),
    "terminate": Fault(CLIENT, _killed("terminate")),
    "pause-long": Fault(WORKER, _lasting("pause", "resume", 1.2, 2.0)),
    "pause-short": Fault(CLIENT, _lasting("pause", "resume", 0.1, 0.6)),
    "partition": Fault(CLIENT, _lasting("refuse", "pass", 0.3, 2.2)),
    # Long enough for somebody else to take over what it holds and to finish it.
    "cut-off": Fault(WORKER, _lasting("refuse", "pass", 1.7, 2.6)),
    "half-open": Fault(CLIENT, _swallowed),
    "reset": Fault(CLIENT, _once("reset")),
    "latency": Fault(CLIENT, _slow),
    "bandwidth": Fault(CLIENT, _narrow),
    "slices": Fault(CLIENT, _sliced),
    "lost-reply": Fault(
        CLIENT,
        _lost_replies("settle", "settle", "emit", "XREADGROUP", "reclaim", "promote", "relay"),
    ),
    "lost-renewal": Fault(WORKER, _lost_replies("renew", "solo", "open", "repair")),
    "lost-settle": Fault(WORKER, _lost_replies("settle")),
    "lost-emit": Fault(CLIENT, _lost_replies("emit")),
    "redis-killed": Fault(REDIS, _restarted),
    "redis-frozen": Fault(REDIS, _frozen),
    "redis-full": Fault(REDIS, _full),
    "clients-killed": Fault(REDIS, _clients_killed),
    "scripts-flushed": Fault(REDIS, _once("flush-scripts")),
    "group-destroyed": Fault(REDIS, _group_lost),
    "all-flushed": Fault(REDIS, _once("flush-all")),
}


@dataclass(frozen=True, slots=True)
class Profile:
    """faults and their weights, one every so many seconds; kinds of jobs, all when empty.

    keeps_data says whether Redis has what it acknowledged after a kill -9; with
    faults that lose data what is lost is reported, and no violation.
    """

    faults: Mapping[str, float]
    every: float = 0.5
    keeps_data: bool = True
    kinds: Mapping[str, float] = field(default_factory=dict)


_NETWORK = {
    "partition": 3.0, "half-open": 1.0, "reset": 3.0, "latency": 2.0, "bandwidth": 1.0,
    "slices": 1.0, "lost-reply": 8.0, "lost-renewal": 2.0,
}  # fmt: skip
_PROCESSES = {"kill": 4.0, "terminate": 2.0, "pause-long": 4.0, "pause-short": 2.0}
_SERVER = {
    "redis-killed": 1.0, "redis-frozen": 1.0, "redis-full": 1.0, "clients-killed": 1.5,
    "scripts-flushed": 2.0, "group-destroyed": 1.0,
}  # fmt: skip
_BRIEF = {"quick": 5.0, "nap": 10.0, "long": 10.0, "parent": 10.0}

PROFILES: Mapping[str, Profile] = {
    # Everything from which nothing may be lost.
    "storm": Profile({**_NETWORK, **_PROCESSES, **_SERVER}),
    # Redis loses what it had, again and again.
    "loss": Profile(
        {
            "all-flushed": 1.0,
            "redis-killed": 1.0,
            "kill": 1.0,
            "lost-reply": 2.0,
            "pause-long": 1.0,
        },
        every=1.5,
        keeps_data=False,
    ),
    # One sort of fault each, for the mutants.
    "partitions": Profile({"cut-off": 1.0}, every=0.5, kinds=_BRIEF),
    "lost-replies": Profile({"lost-settle": 2.0, "lost-emit": 1.0}, every=0.15, kinds=_BRIEF),
    "kills": Profile({"kill": 1.0}, every=0.7, kinds=_BRIEF),
    "lost-groups": Profile({"group-destroyed": 1.0}, every=0.5, kinds=_BRIEF),
    "blocked-loops": Profile({}, kinds={"quick": 60.0, "long-block": 0.3}),
}


def plan(
    profile: Profile,
    *,
    seed: int,
    seconds: float,
    lease: float,
    workers: Sequence[str],
    producers: Sequence[str],
) -> list[Step]:
    """Return what happens in a run, in order. A process has one fault at a time."""
    dice = Dice(random.Random(seed), lease)
    targets = {WORKER: [*workers], CLIENT: [*workers, *producers], REDIS: [""]}
    free_at: dict[str, float] = {}
    steps: list[Step] = []
    at = dice.between(0.0, profile.every)
    while profile.faults and at < seconds:
        (name,) = dice.rng.choices(list(profile.faults), list(profile.faults.values()))
        fault = FAULTS[name]
        on = dice.rng.choice(targets[fault.concerns])
        drawn = fault.draw(dice)
        if free_at.get(on, 0.0) <= at:
            steps += [_moved(step, at, on) for step in drawn]
            free_at[on] = at + max(step.at for step in drawn)
        at = round(at + dice.rng.uniform(0.3, 1.7) * profile.every, 2)
    return sorted(step for step in steps if step.at < seconds)


def _moved(step: Step, at: float, on: str) -> Step:
    return Step(round(at + step.at, 2), step.act, on, step.value, step.word, step.span)
