"""Let several listen to what one consumer tells."""

from __future__ import annotations

from consumers.store.settling import Settlement
from consumers.telemetry import Telemetry


class Listeners:
    """A telemetry that tells each of several, in order.

    What one of them raises goes to the consumer, and those behind it are not told.
    """

    def __init__(self, *listeners: Telemetry) -> None:
        self._listeners = listeners

    def settled(self, settlement: Settlement, recorded: bool) -> None:
        """Tell each of an outcome that Redis has answered."""
        for listener in self._listeners:
            listener.settled(settlement, recorded)
