"""What of a queue is paused, as its meta says it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

# The fields of a queue's meta that a state is read from.
FIELDS = ("paused", "paused_events", "pause_state")


@dataclass(frozen=True, slots=True)
class PauseState:
    """What of a queue is paused; number grows with every change of it."""

    number: int = 0
    whole: bool = False
    events: frozenset[str] = frozenset()

    @classmethod
    def read(cls, values: Sequence[bytes | None]) -> PauseState:
        """Return the state in the values of FIELDS."""
        whole, events, number = values
        return cls(int(number or 0), whole is not None, frozenset((events or b"").decode().split()))

    def covers(self, event: str | None) -> bool:
        """Whether jobs of an event may not start; None asks for the queue as a whole."""
        return self.whole or event in self.events
