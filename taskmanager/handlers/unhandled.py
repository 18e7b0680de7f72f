"""Warn once per event that no handler here takes it, and suggest the nearest name."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from difflib import get_close_matches

from consumers.jobs.texts import duration

logger = logging.getLogger("taskmanager.handlers")

# Names come from producers. Nobody reads more lines than this, and each takes memory.
_MOST_SAID = 1000
# Names are compared on the event loop. These limits bound how long that takes.
_MOST_NEAREST, _LONGEST, _MOST_COMPARED = 20, 64, 200
# By how many letters a misspelt name may be longer or shorter.
_LETTERS = 3


class Unhandled:
    """Warns of events that are emitted or passed on in a process that handles only other events.

    `handled` holds the (queue, event) of the handlers, as they are at each call. `may_come` returns
    whether more handlers will be registered. If so, emits without a handler are not reported.
    """

    def __init__(self, handled: Collection[tuple[str, str]]) -> None:
        self._handled = handled
        self._said: set[tuple[str, str, str]] = set()
        self.may_come: Callable[[], bool] = lambda: False

    def emitted(self, queue: str, event: str) -> None:
        """Warn that an emit has no handler here, if this process has others for its queue."""
        if not any(it == queue for it, _ in self._handled) or self.may_come():
            return
        if self._is_new("emitted", queue, event):
            logger.warning(
                "event %r was emitted to queue %r, but no handler for it is registered in this "
                "process%s; its jobs wait for a worker that has one",
                event, queue, self._nearest(queue, event),
            )  # fmt: skip

    def handed_on(self, queue: str, event: str, *, deadline: float) -> None:
        """Warn that this worker has no handler for a job, which waits `deadline` seconds for it."""
        if self._is_new("handed on", queue, event):
            logger.warning(
                "this worker has no handler for event %r in queue %r%s; its jobs wait up to %s for "
                "a worker that has one, then become dead letters",
                event, queue, self._nearest(queue, event), duration(deadline),
            )  # fmt: skip

    def handed_on_lacking(
        self, queue: str, event: str, lacks: Sequence[str], *, deadline: float
    ) -> None:
        """Warn that this worker lacks a capability that its handler for a job requires."""
        if self._is_new("handed on", queue, event):
            logger.warning(
                "this worker does not run event %r in queue %r, because it lacks %s; its jobs wait "
                "up to %s for a worker that has it, then become dead letters",
                event, queue, ", ".join(lacks), duration(deadline),
            )  # fmt: skip

    def _is_new(self, what: str, queue: str, event: str) -> bool:
        key = (what, queue, event)
        if key in self._said or len(self._said) >= _MOST_SAID:
            return False
        self._said.add(key)
        if len(self._said) == _MOST_SAID:
            logger.warning(
                "reported %s events without a handler; further ones are not logged",
                f"{_MOST_SAID:,}",
            )
        return True

    def _nearest(self, queue: str, event: str) -> str:
        if len(self._said) > _MOST_NEAREST or len(event) > _LONGEST:
            return ""
        names = [
            name
            for its, name in self._handled
            if its == queue and abs(len(name) - len(event)) <= _LETTERS
        ]
        found = get_close_matches(event, names[:_MOST_COMPARED], n=1)
        return f" (did you mean {found[0]!r}?)" if found else ""
