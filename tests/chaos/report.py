"""Tell what a run was, what it counted, and the first counter-example with all that led to it."""

from __future__ import annotations

from collections.abc import Iterator

from tests.chaos.checks import Rules, Violation, counts
from tests.chaos.figures import judgements
from tests.chaos.rig import Result
from tests.support.oracle import Record

_MOST_SHOWN = 10
_MOST_LINES = 120


def headline(result: Result) -> str:
    """Return one line: what was run, and whether it was good."""
    plan, number = result.plan, len(result.violations)
    said = f"{number} violations" if number else "nothing violated"
    mutant = f" mutant={plan.mutant}" if plan.mutant else ""
    return f"{plan.binary.id} seed={plan.seed} {plan.profile} {plan.seconds:g} s{mutant}: {said}"


def figures(result: Result) -> str:
    """Return the counts of a run, in a few lines."""
    told = counts(result.history)
    main = [f"{name} {number}" for name, number in told.items() if not name.startswith("fault ")]
    faults = [f"{it[6:]} {number}" for it, number in told.items() if it.startswith("fault ")]
    lines = [f"  {', '.join(main)}", f"  faults: {', '.join(faults) or 'none'}"]
    rules = Rules(result.plan.lease, result.plan.faults.keeps_data)
    judged = judgements(result.history, rules)
    lines.append(
        f"  judged: {judged['jobs']} of {told['jobs']} jobs for a second run, "
        f"{judged['orphans']} runs of killed workers, {judged['workers']} workers for being deaf"
    )
    if result.losses:
        lines.append(f"  lost with the data of Redis: {len(result.losses)}")
    return "\n".join(lines)


def explanation(result: Result) -> str:
    """Return violations, schedule, and the timeline of the first job that is named."""
    return "\n".join(_explain(result))


def _explain(result: Result) -> Iterator[str]:
    yield headline(result)
    for violation in result.violations[:_MOST_SHOWN]:
        yield f"  {violation.check}: {violation.text}"
    if len(result.violations) > _MOST_SHOWN:
        yield f"  and {len(result.violations) - _MOST_SHOWN} more"
    yield "schedule of faults, seconds from the start of the nemesis:"
    for step in result.plan.steps():
        yield f"  {step}"
    first = next((it for it in result.violations if it.job), None)
    if first is not None:
        yield from _timeline(result, first)


def _timeline(result: Result, violation: Violation) -> Iterator[str]:
    yield f"what happened around {violation.job}:"
    records = result.history.about(violation.job)
    zero = result.history.records[0].at
    for record in records[:_MOST_LINES]:
        yield f"  {record.at - zero:8.3f}  {_line(record)}"
    if len(records) > _MOST_LINES:
        yield f"  and {len(records) - _MOST_LINES} more"


def _line(record: Record) -> str:
    told = [record.who, record.what, record.queue, record.job]
    told += [f"{name}={getattr(record, name)}" for name in _NUMBERS if getattr(record, name)]
    told += [record.on, record.detail]
    return " ".join(part for part in told if part)


_NUMBERS = ("generation", "delivery", "attempt", "priority")
