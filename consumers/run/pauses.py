"""What is paused here. The truth is each queue's meta; this is what was last read of it."""

from __future__ import annotations

import time

from consumers.store.pause_state import PauseState

# What was read counts for so long (s). A process that was stopped or blocked for longer looks
# again before it starts anything; who pauses a queue waits twice as long for a silent worker.
MOST_STALE = 30.0


_NOTHING = PauseState()
_EVERY = 2**53


class Pauses:
    """The pause states of a worker's queues, asked before each start, also by threads."""

    def __init__(self) -> None:
        self._states: dict[str, PauseState] = {}
        self._looked = float("-inf")
        # Whether anything is paused at all; the hot path asks this first.
        self.any = False
        # Set for good when the worker winds down: what has not begun does not begin any more.
        self.closed = False

    @property
    def are_fresh(self) -> bool:
        """Whether what is known was read lately enough to start anything on it."""
        return time.monotonic() - self._looked < MOST_STALE

    def looked(self, at: float) -> None:
        """All states were read; at is the monotonic time at which that was asked."""
        self._looked = at

    def permit(self, queue: str, event: str) -> bool:
        """Whether a job may begin to run now."""
        if self.closed or (self.any and self.of(queue).covers(event)):
            return False
        return time.monotonic() - self._looked < MOST_STALE

    def tell(self, queue: str, state: PauseState) -> bool:
        """Take over what was read; return whether it is news."""
        if self._states.get(queue) == state:
            return False
        self._states[queue] = state
        self.any = any(it.whole or it.events for it in self._states.values())
        return True

    def of(self, queue: str) -> PauseState:
        """Return the state of a queue."""
        return self._states.get(queue, _NOTHING)

    def numbers(self) -> dict[str, int]:
        """Return which state of each queue is obeyed here, for the worker's heartbeat."""
        # Where nothing begins any more, whatever will be paused is obeyed.
        return {
            queue: _EVERY if self.closed else state.number for queue, state in self._states.items()
        }
