"""Limit how many lines per second this process logs about jobs, and count the others."""

from __future__ import annotations

import threading
from collections import Counter
from typing import Final

# INFO lines per second; further ones are counted, and the count is logged once.
MOST_LINES: Final = 50
_WINDOW = 1.0


class LineLimit:
    """Room for MOST_LINES lines per second. Thread-safe, as there may be many event loops.

    `room` is how many lines are left in this second, and `until` (s, monotonic) is its end. Both
    are read directly, to save a call.
    """

    def __init__(self) -> None:
        self.room = 0
        self.until = 0.0
        self._hidden: Counter[str] = Counter()
        self._lock = threading.Lock()

    def begin(self, now: float) -> Counter[str]:
        """Begin the next second if this one is over; return what was hidden in it."""
        with self._lock:
            if now < self.until:
                return Counter()
            self.until, self.room = now + _WINDOW, MOST_LINES
            return self._taken()

    def take(self) -> bool:
        """Use up room for one line; return whether there was any."""
        with self._lock:
            self.room -= (had_room := self.room > 0)
            return had_room

    def hide(self, word: str, number: int) -> None:
        """Count jobs whose lines are not written, by what became of them."""
        with self._lock:
            self._hidden[word] += number

    def hidden(self) -> Counter[str]:
        """Return the counts and reset them; each job is returned to one caller."""
        with self._lock:
            return self._taken()

    def _taken(self) -> Counter[str]:
        taken, self._hidden = self._hidden, Counter()
        return taken


OF_THE_PROCESS: Final = LineLimit()
