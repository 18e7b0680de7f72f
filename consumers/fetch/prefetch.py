"""How many jobs a worker holds beside those that run, so that its slots bridge a read."""

from __future__ import annotations

from consumers.lease.leases import HELD_AT_MOST

# A read waits in Redis behind a settle of as many jobs as the slots had: so long (s) at most.
_BRIDGED = 0.005
# Of a shorter time a burst would be taken for the rate.
_MEASURED_OVER = 0.1
# What is held goes back after a second: what starts within half of that has time enough.
_STARTED_WITHIN = HELD_AT_MOST / 2


class Prefetch:
    """As many as the slots use up while a read is under way, by how fast they do.

    What is held here is kept from other workers: at first a quarter of the slots is allowed, as
    many as there are slots only while there is a backlog and handlers are so fast that they
    would idle otherwise, and never more than will surely start before it would be handed back.
    With fewer than four slots nothing is held, so that priorities are exact. most is a limit that
    was set, None for none. Times are monotonic seconds.
    """

    def __init__(self, slots: int, *, most: int | None = None, now: float) -> None:
        # Whether it was set that nothing is to be held.
        self.is_off = most == 0
        self._least = slots // 4 if most is None else min(slots // 4, most)
        # Who may hold nothing as a rule may not where handlers are fast either.
        self._most = (slots if most is None else most) if self._least else 0
        self.allowed = self._least
        self._since, self._ended = now, 0
        # By the runs that ended in each of the last two seconds; nothing is known of them yet.
        self._starting = self._starting_before = self._most
        self._second_since, self._second_ended = now, 0

    def ended(self, runs: int = 1) -> None:
        """Some runs have ended."""
        self._ended += runs

    def measure(self, now: float) -> None:
        """Set what is allowed by the runs that ended since it was measured last."""
        elapsed = now - self._since
        if elapsed < _MEASURED_OVER:
            return
        self._second_ended += self._ended
        self._measure_second(now)
        used = int(self._ended / elapsed * _BRIDGED)
        # Runs that end all at once say nothing of the next ones.
        starting = min(self._starting, self._starting_before)
        self.allowed = min(max(self._least, min(self._most, used)), starting)
        self._since, self._ended = now, 0

    def rest(self, now: float) -> None:
        """Nothing waits, so that there is nothing to bridge: what comes next may be slow."""
        self.allowed = self._least
        self._since, self._ended = now, 0
        self._starting = self._starting_before = self._most
        self._second_since, self._second_ended = now, 0

    def _measure_second(self, now: float) -> None:
        elapsed = now - self._second_since
        if elapsed >= HELD_AT_MOST:
            self._starting_before = self._starting
            self._starting = int(self._second_ended / elapsed * _STARTED_WITHIN)
            self._second_since, self._second_ended = now, 0
