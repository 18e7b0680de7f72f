"""What must be true of a run, judged by what its workers wrote down and what Redis holds."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tests.chaos.routing.world import Need, World, may
from tests.chaos.snapshot import Snapshot
from tests.support.oracle import Record


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a run came to: violations as text, and figures by name."""

    violations: list[str] = field(default_factory=list)
    figures: Mapping[str, int] = field(default_factory=dict)

    def __str__(self) -> str:
        said = ", ".join(f"{name} {number:,}" for name, number in self.figures.items())
        return "\n".join([said, *self.violations[:50]])


def judge(
    world: World,
    records: Sequence[Record],
    seen: Snapshot,
    routes: Mapping[str, Mapping[str, str]],
    *,
    expected: Mapping[tuple[str, str], int],
    refused: Sequence[str],
    faults: int,
) -> Verdict:
    """Judge a run. expected has queue and id of each job, refused the emits that failed."""
    starts = [it for it in records if it.what == "start"]
    wrong = [it for it in starts if not _may_begin(world, it)]
    ended = Counter((it.queue, it.job) for it in seen.ends if it.state == "completed")
    told = Counter((it.queue, it.job) for it in records if it.what == "completed")
    twice = [it for it, number in told.items() if number > 1]
    committed = sum(seen.completed.values())
    violations = [
        *(f"{it.who} began {it.job}, able to {it.on}, which requires {it.detail}" for it in wrong),
        *(f"{queue} {job} was lost" for queue, job in expected.keys() - ended.keys()),
        *(f"{queue} {job} was never emitted" for queue, job in ended.keys() - expected.keys()),
        *(f"{queue} {job} was committed twice" for queue, job in twice),
        *(f"{it.job} is dead: {it.value}" for it in seen.ends if it.state != "completed"),
        *(f"an emit failed: {it}" for it in refused),
        *(f"{number} left in {name}" for name, number in seen.left.items()),
        *seen.stray,
        *(it.detail for it in records if it.what == "died"),
    ]
    if committed != len(expected):
        violations.append(f"{committed} commits of {len(expected)} jobs")
    return Verdict(violations, _figures(records, starts, wrong, expected, faults, routes))


def _may_begin(world: World, start: Record) -> bool:
    worker, can = world.workers[start.name], json.loads(start.on)
    return may(worker, can, Need(**json.loads(start.detail)), start.priority)


def _figures(
    records: Sequence[Record],
    starts: Sequence[Record],
    wrong: Sequence[Record],
    expected: Mapping[tuple[str, str], int],
    faults: int,
    routes: Mapping[str, Mapping[str, str]],
) -> dict[str, int]:
    happened = Counter(it.detail.partition(" ")[0] for it in records if it.what == "fault")
    again = [it for it in starts if it.delivery > it.attempt]
    return {
        "jobs": len(expected),
        "starts": len(starts),
        "starts on a wrong worker": len(wrong),
        "starts after a crash or release": len(again),
        "fenced": sum(it.what == "fenced" for it in records),
        "routes at the end": sum(map(len, routes.values())),
        "faults": faults,
        **dict(sorted(happened.items())),
    }
