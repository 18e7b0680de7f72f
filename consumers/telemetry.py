"""What a consumer reports about its work, for metrics, traces and audits."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from consumers.errors import InvalidInput
from consumers.store.settling import Settled

logger = logging.getLogger("taskmanager.worker")


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


def tell(what: str, settled: Sequence[Settled], call: Callable[[], None]) -> None:
    """Call a listener of outcomes; log what it raises, under its name.

    The outcomes are recorded: no listener may keep others from being recorded.
    """
    try:
        call()
    except BaseException:
        first, more = settled[0].settlement.delivery.envelope.id, len(settled) - 1
        others = f" and {more} more" if more else ""
        logger.exception("%s failed for job %s%s", what, first, others)


T = TypeVar("T", bound="Telemetry | None")


def check_telemetry(telemetry: T) -> T:
    """Return a telemetry, or None; raise InvalidInput for what cannot be told of outcomes."""
    if telemetry is not None and not callable(getattr(telemetry, "settled_many", None)):
        raise InvalidInput(f"telemetry {telemetry!r} has no method settled_many(settled)")
    return telemetry
