"""The faults of a run: what happens when to whom, all of it from a seed."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from tests.support.oracle import Record

# What a fault may concern.
WORKER, PRODUCER, CLIENT, REDIS = "worker", "producer", "client", "redis"
# A worker whose event loop is that of an application.
GUEST = "guest"
# What of a queue somebody may spoil.
PARTS_OF_A_QUEUE = ("meta", "lane", "delayed")
# What processes ask for all the time: a word that is not asked for loses no reply.
_ASKED_BY_PRODUCER = ("emit",)
_ASKED_IN_LINE = ("settle", "XREADGROUP", "renew")
_ASKED_BY_WORKER = ("settle", "XREADGROUP", "renew", "reclaim", "promote", "relay")


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
    """What faults are drawn with; lease is in seconds, asked what the process asks Redis for."""

    rng: random.Random
    lease: float
    asked: Sequence[str] = _ASKED_BY_WORKER

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
    """Return the loss of replies to one of the requests, else of what the process asks for."""

    def draw(dice: Dice) -> list[Step]:
        word = dice.rng.choice(requests or dice.asked)
        return _unheard(word, dice.rng.randint(1, 3), dice.between(0.7, 2.0))

    return draw


def _unheard(word: str, times: int, span: float) -> list[Step]:
    return [Step(0.0, "lose-reply", "", times, word, span), Step(span, "keep-replies")]


def _unheard_start(dice: Dice) -> list[Step]:
    # Only who has just started opens its lanes.
    away, span = dice.between(0.1, 0.5), 4.0
    return [
        *_unheard("open", dice.rng.randint(1, 3), span),
        Step(0.0, "kill", span=away),
        Step(away, "start"),
    ]


def _narrow(dice: Dice) -> list[Step]:
    span = dice.between(0.5, 2.0)
    return [Step(0.0, "bandwidth", value=10_000, span=span), Step(span, "pass")]


def _slow(dice: Dice) -> list[Step]:
    span = dice.between(0.5, 3.0)
    return [Step(0.0, "latency", value=dice.between(0.02, 0.3), span=span), Step(span, "pass")]


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
    # Shorter than what a lease has left when it is renewed: nobody may lose one.
    span = dice.leases(0.1, 0.4)
    return [Step(0.0, "freeze-redis", value=span, span=span)]


def _full(dice: Dice) -> list[Step]:
    span = dice.between(0.3, 2.0)
    return [Step(0.0, "fill-memory", span=span), Step(span, "free-memory")]


def _group_lost(dice: Dice) -> list[Step]:
    """Every other time the one who makes it again is not told that it is made."""
    destroyed = Step(0.0, "destroy-group", value=dice.rng.randint(0, 999) / 1000)
    if dice.rng.random() < 0.5:
        return [destroyed]
    return [*_unheard("repair", 1, dice.between(0.7, 1.5)), replace(destroyed, at=0.01)]


def _spoiled(*parts: str) -> Draw:
    """Return a fault that leaves a foreign value in the place of one of the parts."""

    def draw(dice: Dice) -> list[Step]:
        # Long enough for each worker to look at its queues, and to work on.
        span, part = dice.between(3.0, 5.0), dice.rng.choice(parts)
        return [Step(0.0, "spoil", word=part, span=span), Step(span, "clear", word=part)]

    return draw


def _clients_killed(dice: Dice) -> list[Step]:
    return [Step(0.0, "kill-clients", word=dice.rng.choice(("normal", "normal", "pubsub")))]


FAULTS: Mapping[str, Fault] = {
    "kill": Fault(CLIENT, _killed("kill")),
    "terminate": Fault(CLIENT, _killed("terminate")),
    "loop-ended": Fault(GUEST, _killed("end-loop")),
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
    "lost-reply": Fault(CLIENT, _lost_replies()),
    "lost-start": Fault(WORKER, _unheard_start),
    "lost-settle": Fault(WORKER, _lost_replies("settle")),
    "lost-emit": Fault(PRODUCER, _lost_replies("emit")),
    "redis-killed": Fault(REDIS, _restarted),
    "redis-frozen": Fault(REDIS, _frozen),
    "redis-full": Fault(REDIS, _full),
    "clients-killed": Fault(REDIS, _clients_killed),
    "scripts-flushed": Fault(REDIS, _once("flush-scripts")),
    "group-destroyed": Fault(REDIS, _group_lost),
    "queue-spoiled": Fault(REDIS, _spoiled(*PARTS_OF_A_QUEUE)),
    "meta-spoiled": Fault(REDIS, _spoiled("meta")),
    "all-flushed": Fault(REDIS, _once("flush-all")),
}


# What a fault explains: that a job which runs near it is run again ("rerun"), that
# something starts late ("late"), that Redis no longer has what it acknowledged ("loss"),
# that the queue which is there to be spoiled does not do what it should ("spoils").
_OUTAGE = frozenset({"rerun", "late"})
_DELAY = frozenset({"late"})
_NOTHING = frozenset[str]()
_EXCUSES: Mapping[str, frozenset[str]] = {
    "kill": _OUTAGE,
    "terminate": _OUTAGE,
    "end-loop": _OUTAGE,
    "start": _DELAY,
    "pause": _OUTAGE,
    "resume": _OUTAGE,
    "refuse": _OUTAGE,
    "swallow": _OUTAGE,
    # A connection is made again long before a lease runs out.
    "reset": _DELAY,
    "latency": _DELAY,
    "bandwidth": _DELAY,
    "slices": _DELAY,
    "lose-reply": _DELAY,
    "keep-replies": _NOTHING,
    "pass": _NOTHING,
    # What lost bytes ends only here, after an outage for as long as it takes to notice.
    "pass-anew": _DELAY,
    "kill-redis": _OUTAGE | {"loss"},
    "start-redis": _OUTAGE,
    "freeze-redis": _DELAY,
    "fill-memory": _DELAY,
    "free-memory": _NOTHING,
    "kill-clients": _DELAY,
    "flush-scripts": _NOTHING,
    "flush-all": _OUTAGE | {"loss"},
    "destroy-group": _OUTAGE,
    "spoil": frozenset({"spoils"}),
    "clear": _NOTHING,
    # The machine stood still, and with it everybody.
    "stall": _OUTAGE,
}
# Here a hand-out is lost with the reply: who is given it again counts one delivery more.
_HANDS_OUT = frozenset({"lose-reply XREADGROUP", "lose-reply reclaim"})


def excuses(fault: Record) -> frozenset[str]:
    """Return what a fault explains, of "rerun", "late", "loss" and "spoils".

    fault is a record as the nemesis writes it (its detail is the act and its
    word). It counts for its process, for everybody when it names none, and for
    as long as it lasts and what follows from it. "rerun" is a second run, or a
    hand-out that nobody got. "loss" is what a server without a file does: of one
    that keeps its data nothing is gone after "kill-redis" either.
    """
    known = _EXCUSES[fault.detail.partition(" ")[0]]
    return known | _OUTAGE if fault.detail in _HANDS_OUT else known


# Faults after which Redis has nothing, where it has no file.
_LOSES_ALL = frozenset({"all-flushed", "redis-killed"})


@dataclass(frozen=True, slots=True)
class Profile:
    """faults and their weights, one every so many seconds; kinds of jobs, all when empty.

    keeps_data says whether Redis has what it acknowledged after a kill -9; with
    faults that lose data what is lost is reported, and no violation. quiet is
    for how many seconds before the end nothing is lost any more. proves says
    what a run must have met with to prove anything.
    """

    faults: Mapping[str, float]
    every: float = 0.5
    keeps_data: bool = True
    kinds: Mapping[str, float] = field(default_factory=dict)
    quiet: float = 0.0
    proves: Sequence[str] = ()

    def loses_data(self, fault: str) -> bool:
        """Whether this fault takes from Redis what it holds."""
        return not self.keeps_data and fault in _LOSES_ALL


_NETWORK = {
    "partition": 3.0, "half-open": 1.0, "reset": 3.0, "latency": 2.0, "bandwidth": 1.0,
    "slices": 1.0, "lost-reply": 10.0, "cut-off": 1.0,
}  # fmt: skip
_PROCESSES = {
    "kill": 3.0, "terminate": 2.0, "pause-long": 4.0, "pause-short": 2.0, "lost-start": 1.0,
    "loop-ended": 2.0,
}  # fmt: skip
_SERVER = {
    "redis-killed": 1.0, "redis-frozen": 1.0, "redis-full": 1.0, "clients-killed": 1.5,
    "scripts-flushed": 2.0, "group-destroyed": 1.0, "queue-spoiled": 1.0,
}  # fmt: skip
_RUDE = {"quick": 20.0, "unfit": 5.0, "rude": 5.0, "rude-result": 5.0}
_BRIEF = {"quick": 5.0, "nap": 10.0, "long": 10.0, "parent": 10.0}

PROFILES: Mapping[str, Profile] = {
    # Everything from which nothing may be lost.
    "storm": Profile({**_NETWORK, **_PROCESSES, **_SERVER}, proves=("fenced", "dropped")),
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
        quiet=15.0,
        proves=("fenced", "dropped", "losses"),
    ),
    # One sort of fault each, for the mutants.
    "partitions": Profile({"cut-off": 1.0}, every=0.5, kinds=_BRIEF),
    "lost-replies": Profile({"lost-settle": 2.0, "lost-emit": 1.0}, every=0.15, kinds=_BRIEF),
    "kills": Profile({"kill": 1.0}, every=1.2, kinds=_BRIEF),
    "lost-groups": Profile({"group-destroyed": 1.0}, every=0.5, kinds=_BRIEF),
    # So seldom that who has started is at work.
    "ended-loops": Profile({"loop-ended": 1.0}, every=3.0, kinds=_BRIEF),
    "spoiled-queues": Profile({"meta-spoiled": 1.0}, kinds={**_BRIEF, "spoiled": 5.0}),
    "rude-code": Profile({}, kinds=_RUDE),
    "calm": Profile({}, kinds=_BRIEF),
    "blocked-loops": Profile({}, kinds={"quick": 60.0, "long-block": 0.3}),
}


# The share of a run in which each of its faults comes once.
_DEALT_WITHIN = 0.8


def plan(
    profile: Profile,
    *,
    seed: int,
    seconds: float,
    lease: float,
    workers: Sequence[str],
    producers: Sequence[str],
    guests: Sequence[str] = (),
    in_line: Sequence[str] = (),
) -> list[Step]:
    """Return what happens in a run, in order. A process has one fault at a time.

    guests are those of the workers that run in an application's event loop, in_line
    workers whose queue has neither children nor delays. First comes
    each fault of the profile once, in an order of the seed, as far as the seconds
    allow; then what is drawn by weight.
    """
    asked = {
        **dict.fromkeys(workers, _ASKED_BY_WORKER),
        **dict.fromkeys(in_line, _ASKED_IN_LINE),
        **dict.fromkeys(producers, _ASKED_BY_PRODUCER),
    }
    targets = {
        WORKER: [*workers, *in_line],
        GUEST: [*guests],
        PRODUCER: [*producers],
        CLIENT: [*workers, *in_line, *producers],
        REDIS: [""],
    }
    steps = _Dealer(profile, random.Random(seed), lease, targets, asked).deal(seconds)
    return sorted(step for step in steps if step.at < seconds)


class _Dealer:
    """Deals the faults of one run."""

    def __init__(
        self,
        profile: Profile,
        rng: random.Random,
        lease: float,
        targets: Mapping[str, Sequence[str]],
        asked: Mapping[str, Sequence[str]],
    ) -> None:
        self._profile = profile
        self._rng = rng
        self._lease = lease
        self._targets = targets
        self._asked = asked
        self._deck = rng.sample(list(profile.faults), len(profile.faults))
        self._free_at: dict[str, float] = {}
        # By those who ask for the same.
        self._lost: Counter[tuple[Sequence[str] | None, str]] = Counter()

    def deal(self, seconds: float) -> Iterator[Step]:
        """Yield the steps of each fault, in the order in which faults begin."""
        # Of a short run the quiet end is a part as well.
        calm = seconds - min(self._profile.quiet, seconds / 3)
        hurried = _DEALT_WITHIN * seconds / max(1, len(self._deck))
        at = round(self._rng.uniform(0.0, self._profile.every), 2)
        while self._profile.faults and at < seconds:
            every = self._profile.every
            gap = min(every, hurried) if self._deck else every
            name = self._next(at, at < calm)
            if name is not None:
                yield from self._begin(name, at)
            at = round(at + self._rng.uniform(0.3, 1.7) * gap, 2)

    def _next(self, at: float, may_lose: bool) -> str | None:
        """Return the next fault that somebody is free for: of the deck, else by weight."""
        allowed = [
            it
            for it in self._profile.faults
            if (may_lose or not self._profile.loses_data(it)) and self._free(it, at)
        ]
        for name in self._deck:
            if name in allowed:
                self._deck.remove(name)
                return name
        if not allowed:
            return None
        return self._rng.choices(allowed, [self._profile.faults[it] for it in allowed])[0]

    def _free(self, name: str, at: float) -> list[str]:
        targets = self._targets[FAULTS[name].concerns]
        return [it for it in targets if self._free_at.get(it, -1.0) < at]

    def _next_words(self, on: str) -> Sequence[str]:
        """Return what a process asks for and least often lost a reply to."""
        asked = self._asked.get(on, ())
        least = min((self._lost[asked, word] for word in asked), default=0)
        return [word for word in asked if self._lost[asked, word] == least]

    def _begin(self, name: str, at: float) -> list[Step]:
        on = self._rng.choice(self._free(name, at))
        drawn = FAULTS[name].draw(Dice(self._rng, self._lease, self._next_words(on)))
        self._lost.update((self._asked.get(on), step.word) for step in drawn)
        self._free_at[on] = at + max(step.at for step in drawn)
        return [replace(step, at=round(at + step.at, 2), on=on) for step in drawn]
