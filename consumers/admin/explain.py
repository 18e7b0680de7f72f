"""Why a job is not running: one table of reasons. Nothing else words one. No I/O."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from consumers.admin.circumstances import Circumstances
from consumers.admin.explanation import Explanation
from consumers.admin.reasons import held, in_lane, nobody, over, put_off
from consumers.admin.reasons.case import Case
from consumers.admin.reasons.row import Row
from consumers.store.queue_workers import SeenWorker

# In the order in which they are tried: what stays as it is before what passes.
TABLE: Sequence[Row] = (*over.ROWS, *held.ROWS, *put_off.ROWS, *nobody.ROWS, *in_lane.ROWS)


def explain(it: Circumstances, workers: Sequence[SeenWorker]) -> Explanation:
    """Return the first reason that applies to a job; the others are its details.

    workers are those of its queue that were heard of within the last minute.
    """
    case = Case(it, workers)
    first, *others = [Explanation(row.code, row.sentence(case)) for row in _applying(case)]
    return Explanation(first.reason, first.sentence, others)


def reason_of(it: Circumstances, workers: Sequence[SeenWorker]) -> str:
    """Return the reason of `explain` alone, which costs far less with many workers."""
    return next(_applying(Case(it, workers))).code


def _applying(case: Case) -> Iterator[Row]:
    is_first = True
    for row in TABLE:
        if (is_first or row.may_be_detail) and row.applies(case):
            is_first = False
            yield row
