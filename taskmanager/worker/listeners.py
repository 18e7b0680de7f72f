"""Pass the outcomes of one consumer to several listeners."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from consumers.store.settling import Settled
from consumers.telemetry import Telemetry, tell


class Listeners:
    """A telemetry that passes outcomes to each of several, in order.

    An error in one is logged under its name, and does not affect the next ones.
    """

    def __init__(self, listeners: Mapping[str, Telemetry]) -> None:
        self._listeners = listeners

    def settled_many(self, settled: Sequence[Settled]) -> None:
        """Pass on the outcomes that Redis has answered."""
        for name, listener in self._listeners.items():
            tell(name, settled, partial(listener.settled_many, settled))
