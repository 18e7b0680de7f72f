"""A job with data that only a newer version of its handler knows: it waits for a worker of that."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, repeat
from typing import Any

from consumers.chance import chance
from consumers.jobs.job import Job
from consumers.jobs.outcome import Buried, Outcome, RetryAt
from consumers.jobs.texts import duration, shortened
from consumers.policy import Misfit
from processors.retries.history import with_reason

# Seconds between hand-outs: a rolling deploy takes a minute or two, a forgotten one an hour.
_FIRST, _SOON, _LATER = (1, 2, 4), 5, 60
_SOON_FOR = 120
_SPREAD = (0.5, 1.5)
# Whoever emitted the job has chosen the names.
_NAMES_SHOWN, _NAME_LIMIT = 5, 100


class NewerData(Misfit):
    """Raised for data that names what this version of a handler does not take, and a newer may.

    The job goes back without a retry used, until it was handed out for about deadline
    seconds; then it is buried as bad_payload. That is counted in deliveries, the only count
    that every version keeps: a job with earlier ones has less time.
    """

    def __init__(self, event: str, names: Sequence[str], *, deadline: float) -> None:
        self.event = event
        self.names = shown(names)
        self.deadline = deadline
        super().__init__(f"this version of {event!r} does not take {self.names}")

    def outcome(self, job: Job[Any]) -> Outcome:
        """Return when the job is handed out again, or its burial."""
        delay = delay_after(job.delivery, self.deadline)
        if delay is not None:
            # Idle workers wait in turns of equal length: at equal distances the same one of two
            # would be the first in line for ever.
            ms = round(delay * 1000 * chance.uniform(*_SPREAD))
            return RetryAt(ms, with_reason(job, str(self)), uses_attempt=False)
        return Buried("bad_payload", self._said())

    def _said(self) -> str:
        return (
            f"for {duration(self.deadline)}, no worker had a version of {self.event!r} that takes "
            f"{self.names}"
        )


def delay_after(deliveries: int, deadline: float) -> int | None:
    """Return how many seconds a job waits after so many hand-outs; None once it has waited long.

    1, 2 and 4 s, then every 5 s for two minutes, then every minute; each is spread by half.
    """
    waited = 0
    for handed_out, delay in enumerate(
        chain(_FIRST, repeat(_SOON, _SOON_FOR // _SOON), repeat(_LATER)), 1
    ):
        if waited >= deadline or handed_out >= deliveries:
            break
        waited += delay
    return delay if waited < deadline else None


def shown(names: Sequence[str]) -> str:
    """Return names for a text: some of them, whoever wrote them."""
    some = ", ".join(repr(shortened(name, _NAME_LIMIT)) for name in names[:_NAMES_SHOWN])
    more = len(names) - _NAMES_SHOWN
    return f"{some} and {more:,} more" if more > 0 else some
