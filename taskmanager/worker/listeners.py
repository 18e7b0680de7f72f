"""Let several listen to what one consumer tells."""

from __future__ import annotations

from collections.abc import Sequence

from consumers.store.settling import Settled
from consumers.telemetry import Telemetry


class Listeners:
    """A telemetry that tells each of several, in order.

    What one of them raises goes to the consumer, and those behind it are not told.
    """

    def __init__(self, *listeners: Telemetry) -> None:
        self._listeners = listeners

    def settled_many(self, settled: Sequence[Settled]) -> None:
        """Tell each of the outcomes that Redis has answered."""
        for listener in self._listeners:
            listener.settled_many(settled)
