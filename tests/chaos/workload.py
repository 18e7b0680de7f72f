"""The kinds of jobs in a run: how often, how they are emitted, how they must end.

A kind has its handler in app.py, under the same name. Jobs are of kinds that
producers emit, one job each or many for one run, children, which handlers emit,
and what a schedule fires. checks.py says what must be true of each.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from tests.chaos.anything import ANYTHING

# The last one is spoiled by the nemesis now and then.
WORK, OTHER, LINE, SPOILED = "work", "other", "line", "spoiled"
QUEUES = (WORK, OTHER, LINE, SPOILED)
# When the one schedule of a run fires.
EVERY_SECOND = "* * * * * *"
PRIORITIES = (-10, 0, 0, 0, 5, 20)
# How emits of a storm become one run: seconds after the last, and at most after the first.
STORM_WINDOW, STORM_LONGEST = 0.2, 1.0
# How long a snoozed job is away, in seconds.
NAP = 0.2
# Jobs of each producer for a fleet that must have become whole again: more than its
# workers take at once, and longer than they may need to connect again. How many, and
# seconds of each.
PROBES, PROBE_SECONDS = 150, 1.0

# What emit takes beside event, id and queue.
Arguments = dict[str, Any]


class Source(Enum):
    """Who makes jobs of a kind appear."""

    PRODUCER = "producer"
    # Producers too, but many of their emits become one job, with an id of its own.
    STORM = "storm"
    # Of all emits with one key only one becomes a job.
    KEYED = "keyed"
    PARENT = "parent"
    SCHEDULE = "schedule"


@dataclass(frozen=True, slots=True)
class Order:
    """One job to emit. arguments are those of emit, delay (s) among them."""

    event: str
    id: str
    queue: str
    arguments: Arguments

    @property
    def key(self) -> str:
        """What it shares with other emits of its kind; empty when it stands for itself."""
        given = self.arguments
        return str(given.get("debounce_key") or given.get("idempotency_key") or "")

    @property
    def delay(self) -> float:
        """How many seconds it must not start before."""
        return float(self.arguments.get("delay", 0.0))


def _plain(dice: random.Random, lease: float) -> Arguments:
    return {"data": {}, "priority": dice.choice(PRIORITIES)}


def _taking(least: float, most: float) -> Callable[[random.Random, float], Arguments]:
    """Return orders of jobs that take some seconds."""

    def order(dice: random.Random, lease: float) -> Arguments:
        return {
            "data": {"seconds": round(dice.uniform(least, most), 3)},
            "priority": dice.choice(PRIORITIES),
        }

    return order


def _taking_leases(least: float, most: float) -> Callable[[random.Random, float], Arguments]:
    def order(dice: random.Random, lease: float) -> Arguments:
        return {"data": {"seconds": round(lease * dice.uniform(least, most), 3)}}

    return order


def _delayed(dice: random.Random, lease: float) -> Arguments:
    return {"data": {}, "delay": round(dice.uniform(0.2, 3.0), 3)}


def _failing(dice: random.Random, lease: float) -> Arguments:
    return {"data": {"failures": dice.randint(1, 2)}, "priority": dice.choice(PRIORITIES)}


def _with_children(dice: random.Random, lease: float) -> Arguments:
    return {"data": {"same": dice.randint(0, 2), "other": dice.randint(0, 2)}}


def _stormy(dice: random.Random, lease: float) -> Arguments:
    return {
        "data": {},
        "debounce": round(STORM_WINDOW * 1000),
        "debounce_key": f"group-{dice.randrange(3)}",
        "debounce_max_wait": STORM_LONGEST,
    }


def _keyed(dice: random.Random, lease: float) -> Arguments:
    # Few enough for a key to be used again soon, by the other producer as well.
    return {"data": {}, "idempotency_key": f"key-{dice.randrange(100)}"}


def _raising(dice: random.Random, lease: float) -> Arguments:
    return {"data": {"raises": dice.choice(list(ANYTHING))}}


def _soon_or_later(dice: random.Random, lease: float) -> Arguments:
    return {"data": {}, "delay": dice.choice((0, 0, 0.5))}


def _in_line(dice: random.Random, lease: float) -> Arguments:
    return {"data": {}, "priority": dice.choice((0, 0, 5))}


@dataclass(frozen=True, slots=True)
class Kind:
    """share is how often it comes, relative to the others; end how its jobs must end.

    reason is that of a dead or cancelled one, retry_delay (s) that before its first retry,
    and retries how many it has. One that raises names in its data what the application's
    code raises; one that does not begin is refused before its handler is called.
    """

    name: str
    share: float = 0.0
    order: Callable[[random.Random, float], Arguments] = _plain
    end: str = "completed"
    reason: str = ""
    queue: str = WORK
    source: Source = field(default=Source.PRODUCER)
    retries: int = 0
    retry_delay: float = 0.0
    raises: bool = False
    begins: bool = True


KINDS: Mapping[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind("quick", 20),
        Kind("nap", 15, _taking(0.005, 0.1)),
        Kind("long", 8, _taking(0.3, 1.5)),
        Kind("thread", 8, _taking(0.005, 0.1)),
        Kind("parent", 15, _with_children),
        Kind("thread-parent", 4, _with_children),
        Kind("flaky", 8, _failing, retries=3, retry_delay=0.1),
        Kind("retried", 4, retries=3),
        Kind("doomed", 4, end="dead", reason="failed", retries=1, retry_delay=0.05),
        Kind("bad-result", 2, end="dead", reason="bad_result"),
        Kind("unfit", 2, _raising, "dead", "bad_payload", raises=True, begins=False),
        Kind("rude", 2, _raising, "dead", "failed", raises=True),
        Kind("rude-thread", 1, _raising, "dead", "failed", raises=True),
        Kind("rude-policy", 1, _raising, "dead", "failed", raises=True),
        Kind("rude-result", 1, _raising, "dead", "bad_result", raises=True),
        Kind("rude-middleware", 1, _raising, "dead", "failed", raises=True),
        Kind("snoozed", 3),
        Kind("discarded", 3, end="cancelled", reason="not wanted"),
        Kind("keyed", 4, _keyed, source=Source.KEYED),
        Kind("delayed", 6, _delayed),
        Kind("line", 8, _in_line, queue=LINE),
        Kind("spoiled", 4, _soon_or_later, queue=SPOILED),
        # It keeps the event loop, and what runs beside it, waiting.
        Kind("block", 1, _taking(0.1, 0.4)),
        Kind("long-block", 0.1, _taking_leases(1.2, 1.6)),
        Kind("storm", 10, _stormy, source=Source.STORM),
        Kind("child", source=Source.PARENT),
        Kind("tick", source=Source.SCHEDULE),
        # Emitted by who is told to end, and by nobody before.
        Kind("probe"),
    )
}


def shares(given: Mapping[str, float]) -> dict[str, float]:
    """Return how often each kind is emitted: as given, else as the table says."""
    emitted = {it.name: it.share for it in KINDS.values() if it.share}
    return dict(given) or emitted


def orders(
    setting_kinds: Mapping[str, float], lease: float, name: str, dice: random.Random
) -> Iterator[Order]:
    """Yield orders for ever; name makes their ids this producer's own.

    Their data name them: a run then tells whose data it was given.
    """
    chosen = shares(setting_kinds)
    number = 0
    while True:
        number += 1
        (event,) = dice.choices(list(chosen), list(chosen.values()))
        kind, job = KINDS[event], f"{event}-{name}-{number}"
        arguments = kind.order(dice, lease)
        arguments["data"]["emit"] = job
        yield Order(event, job, kind.queue, arguments)


def probes(name: str) -> list[Order]:
    """Return the last orders of a producer, behind everything else that waits."""
    asked = {"data": {"seconds": PROBE_SECONDS}, "priority": min(PRIORITIES)}
    return [Order("probe", f"probe-{name}-{it}", WORK, asked) for it in range(PROBES)]


def children_of(job_id: str, data: Mapping[str, int]) -> list[tuple[str, str]]:
    """Return queue and id of each child that a parent declares."""
    return [
        (queue, f"{job_id}.{key}-{number}")
        for key, queue in (("same", WORK), ("other", OTHER))
        for number in range(data[key])
    ]
