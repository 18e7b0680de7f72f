"""What a consumer reports about its work, for metrics, traces and audits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

from consumers.errors import InvalidInput
from consumers.store.settling import Settled


class Telemetry(Protocol):
    """Receives outcomes, on the event loop, so it must not block. Its errors are logged."""

    def settled_many(self, settled: Sequence[Settled]) -> None:
        """Receive outcomes that Redis has answered, one batch at a time.

        Each item is a pair (settlement, recorded). `settlement.delivery` is the job,
        `settlement.outcome` what became of it, and `settlement.ran` how the run went, None for a
        job that did not run. If `recorded` is False, another worker had taken over the job and
        nothing was written. An outcome whose answer was lost is reported once, when it is repeated.
        An outcome cut off by a crash is never reported.
        """


T = TypeVar("T", bound="Telemetry | None")


def check_telemetry(telemetry: T) -> T:
    """Return a telemetry, or None; raise InvalidInput for what cannot be told of outcomes."""
    if telemetry is not None and not callable(getattr(telemetry, "settled_many", None)):
        raise InvalidInput(f"telemetry {telemetry!r} has no method settled_many(settled)")
    return telemetry
