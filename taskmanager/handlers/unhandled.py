"""Say, once for each event, that no handler here takes it, and which name is the nearest."""

from __future__ import annotations

import logging
from collections.abc import Collection
from difflib import get_close_matches

from consumers.jobs.texts import duration

logger = logging.getLogger("taskmanager.handlers")

# Names come from whoever emits: beyond so many nobody reads the lines, and they take memory.
_MOST_SAID = 1000


class Unhandled:
    """Warns of events that are emitted or handed on in a process that handles others.

    handled are the (queue, event) of the handlers, as they are at each call.
    """

    def __init__(self, handled: Collection[tuple[str, str]]) -> None:
        self._handled = handled
        self._said: set[tuple[str, str, str]] = set()

    def emitted(self, queue: str, event: str) -> None:
        """Say that an emit has no handler here, if this process has others for its queue."""
        if self._is_new("emitted", queue, event) and any(it == queue for it, _ in self._handled):
            logger.warning(
                "event %r is emitted to queue %r, and no handler for it is registered here%s: "
                "its jobs wait for a worker that has one",
                event, queue, self._nearest(queue, event),
            )  # fmt: skip

    def handed_on(self, queue: str, event: str, *, deadline: float) -> None:
        """Say that this worker has no handler for a job, which waits deadline seconds for one."""
        if self._is_new("handed on", queue, event):
            logger.warning(
                "no handler here for event %r in queue %r%s: its jobs wait up to %s for a worker "
                "that has one, then they are dead letters",
                event, queue, self._nearest(queue, event), duration(deadline),
            )  # fmt: skip

    def _is_new(self, what: str, queue: str, event: str) -> bool:
        key = (what, queue, event)
        if key in self._said or len(self._said) >= _MOST_SAID:
            return False
        self._said.add(key)
        return True

    def _nearest(self, queue: str, event: str) -> str:
        names = [name for its, name in self._handled if its == queue]
        found = get_close_matches(event, names, n=1)
        return f" (did you mean {found[0]!r}?)" if found else ""
