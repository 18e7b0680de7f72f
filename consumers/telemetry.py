"""What a consumer tells of its work while it works: for metrics, traces and audits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

from consumers.errors import InvalidInput
from consumers.store.settling import Settled


class Telemetry(Protocol):
    """Is told on the event loop, so it must not block. What it raises is logged."""

    def settled_many(self, settled: Sequence[Settled]) -> None:
        """Called with the outcomes that Redis has answered, a tuple of a batch at a time.

        settlement.ran is how the run went, None for a job that was not run. Not
        recorded means that the delivery was not ours any more: nothing was written.
        An outcome whose answer was lost is told once, with the answer of its
        repetition; one that a crash cut off is told by nobody.
        """


T = TypeVar("T", bound="Telemetry | None")


def check_telemetry(telemetry: T) -> T:
    """Return a telemetry, or None; raise InvalidInput for what cannot be told of outcomes."""
    if telemetry is not None and not callable(getattr(telemetry, "settled_many", None)):
        raise InvalidInput(f"telemetry {telemetry!r} has no method settled_many(settled)")
    return telemetry
