"""Pass the outcomes of one consumer to several listeners."""

from __future__ import annotations

from collections.abc import Sequence

from consumers.store.settling import Settled
from consumers.telemetry import Telemetry


class Listeners:
    """A telemetry that passes outcomes to each of several, in order.

    An error in one does not affect the next ones. The first error is raised at the end.
    """

    def __init__(self, *listeners: Telemetry) -> None:
        self._listeners = listeners

    def settled_many(self, settled: Sequence[Settled]) -> None:
        """Pass on the outcomes that Redis has answered."""
        failed: BaseException | None = None
        for listener in self._listeners:
            try:
                listener.settled_many(settled)
            except BaseException as error:
                failed = failed or error
        try:
            if failed is not None:
                raise failed
        finally:
            # Its traceback refers to this frame, which would be a cycle.
            del failed
