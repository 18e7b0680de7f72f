"""Do the measurements, interleaved, so that a machine's moods meet all contenders."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TypeVar

from benchmarks.failures import Failed, Unable
from benchmarks.results import Measurement, Results
from benchmarks.roster import Contender
from benchmarks.setting import Setting
from benchmarks.workloads import Workload

T = TypeVar("T")

# What sees each measurement as soon as it is made.
Seen = Callable[[Measurement, Workload], None]


def run(
    setting: Setting,
    rounds: int,
    workloads: Sequence[Workload],
    contenders: Sequence[Contender],
    *,
    results: Results,
    seen: Seen,
) -> None:
    """Measure every workload once a round with each contender that takes part, and can."""
    for number, workload, who in plan(rounds, workloads, contenders):
        if not results.gave_up(workload.name, who.name):
            measurement = measure(setting, number, workload, who)
            results.add(measurement)
            seen(measurement, workload)
    results.complete = True


def measure(setting: Setting, number: int, workload: Workload, who: Contender) -> Measurement:
    """Return what came of a measurement; a failure is one as well, and does not end the run."""
    try:
        figures = workload.measure(replace(setting, round=number), who)
    except Unable as error:
        return Measurement(workload.name, who.name, number, "unable", why=str(error))
    except Failed as error:
        return Measurement(workload.name, who.name, number, "failed", why=str(error))
    except Exception as error:
        # A run of an hour must not be lost to what nobody thought of in one contender.
        why = f"{type(error).__name__}: {error}"
        return Measurement(workload.name, who.name, number, "failed", why=why)
    return Measurement(workload.name, who.name, number, "measured", figures)


def plan(
    rounds: int, workloads: Sequence[Workload], contenders: Sequence[Contender]
) -> Iterator[tuple[int, Workload, Contender]]:
    """Yield each round's measurements: workload by workload, each contender of it once.

    Rounds count from 1; in each another contender begins.
    """
    for number in range(1, rounds + 1):
        for workload in workloads:
            takers = [who for who in contenders if workload.who(who)]
            for who in rotated(takers, number - 1):
                yield number, workload, who


def rotated(items: Sequence[T], places: int) -> list[T]:
    """Return the items with the first so many at the end."""
    cut = places % len(items) if items else 0
    return [*items[cut:], *items[:cut]]
