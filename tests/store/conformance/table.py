"""The table: every script, in each case in which it does something else."""

from __future__ import annotations

from collections.abc import Sequence

from tests.store.conformance import elsewhere, emitting, routing, scheduling, settling, tending
from tests.store.conformance.row import Row

TABLE: Sequence[Row] = (
    *emitting.ROWS,
    *settling.ROWS,
    *tending.ROWS,
    *scheduling.ROWS,
    *routing.ROWS,
    *elsewhere.ROWS,
)
