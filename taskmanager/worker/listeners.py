"""Let several listen to what one consumer tells."""

from __future__ import annotations

from collections.abc import Sequence

from consumers.store.settling import Settled
from consumers.telemetry import Telemetry


class Listeners:
    """A telemetry that tells each of several, in order.

    An error of one does not keep it from those behind; the first error is raised at the end.
    """

    def __init__(self, *listeners: Telemetry) -> None:
        self._listeners = listeners

    def settled_many(self, settled: Sequence[Settled]) -> None:
        """Tell each of the outcomes that Redis has answered."""
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
            # Its traceback leads to this frame: a cycle.
            del failed
