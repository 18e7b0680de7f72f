"""The tables that a run ends with."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from benchmarks.machine import Machine
from benchmarks.results import Measurement, Ratio, Results
from benchmarks.roster import OURS, Contender
from benchmarks.spread import Spread
from benchmarks.workloads import Workload

_NOTHING = "-"


def report(
    machine: Machine,
    results: Results,
    workloads: Iterable[Workload],
    contenders: Sequence[Contender],
) -> str:
    """Return the machine, a table a workload with its ratios, and what went wrong."""
    parts = ["\n".join(machine.lines())]
    parts += [_workload(results, it, contenders) for it in workloads]
    parts += [_failures(results)] if results.failures else []
    return "\n\n".join(parts)


def progress(measurement: Measurement, workload: Workload) -> str:
    """Return one line about a measurement that was just made."""
    where = f"round {measurement.round}  {workload.name:<16} {measurement.contender:<20}"
    if measurement.outcome != "measured":
        why = measurement.why.splitlines()
        return f"{where} {measurement.outcome}: {why[0] if why else 'no reason was given'}"
    shown = workload.headline if workload.headline in measurement.figures else ""
    shown = shown or next(iter(measurement.figures))
    return f"{where} {number(measurement.figures[shown])} {_title(shown)}"


def number(value: float) -> str:
    """Return a value in about three digits, with commas in thousands."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def spread(values: Spread) -> str:
    """Return the median, and behind it the smallest and the largest of several values."""
    if len(values.values) == 1:
        return number(values.median)
    return f"{number(values.median)} ({number(values.low)}-{number(values.high)})"


def table(rows: Sequence[Sequence[str]]) -> str:
    """Return rows of equal length as text; the first is the head, the first column names."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [_row(row, widths) for row in rows]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])


def _row(row: Sequence[str], widths: Sequence[int]) -> str:
    name, *cells = row
    padded = [cell.rjust(width) for cell, width in zip(cells, widths[1:], strict=True)]
    return "  ".join([name.ljust(widths[0]), *padded])


def _workload(results: Results, workload: Workload, contenders: Sequence[Contender]) -> str:
    parts = [f"{workload.name}: {workload.about}"]
    rows = {name: results.spreads(workload.name, name) for name in _by_name(results, workload)}
    if rows:
        parts.append(_upright(rows) if len(rows) == 1 else table(_cells(rows)))
    parts += [_compared(it) for it in results.ratios(workload, contenders)]
    parts += [
        f"{goal.judge(spreads)}: {goal.about}"
        for spreads in rows.values()
        for goal in workload.goals
    ]
    parts += [
        f"{name} cannot: {why}" for (of, name), why in results.unable.items() if of == workload.name
    ]
    return "\n".join(parts if len(parts) > 1 else [*parts, "no figures"])


def _by_name(results: Results, workload: Workload) -> list[str]:
    """Return the contenders, the best first."""

    def headline(name: str) -> float:
        values = results.values(workload.name, name, workload.headline)
        return Spread.of(values.values()).median if values else 0.0

    names = results.contenders(workload.name)
    return sorted(names, key=headline, reverse=not workload.less_is_better)


def _cells(rows: dict[str, dict[str, Spread]]) -> list[list[str]]:
    figures = list(dict.fromkeys(name for spreads in rows.values() for name in spreads))
    head = ["", *(_title(name) for name in figures)]
    return [
        head,
        *(
            [who, *(spread(its[name]) if name in its else _NOTHING for name in figures)]
            for who, its in rows.items()
        ),
    ]


def _upright(rows: dict[str, dict[str, Spread]]) -> str:
    """Return one contender's figures as a line each."""
    [(who, spreads)] = rows.items()
    return table([["", who], *([_title(name), spread(it)] for name, it in spreads.items())])


def _title(figure: str) -> str:
    return figure.replace("_", " ")


def _compared(ratio: Ratio) -> str:
    return f"{OURS} is {spread(ratio.spread)} times as good as {ratio.peer}"


def _failures(results: Results) -> str:
    lines = [
        f"{it.workload}, {it.contender}, round {it.round}: {it.why}" for it in results.failures
    ]
    return "\n".join([f"failed measurements: {len(lines)}", *lines])
