"""Notice that every slot waits for the result of a job that needs a slot itself."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Sequence

from consumers.run.run import Run

logger = logging.getLogger("taskmanager.worker")

# Other workers may be running what is waited for: a moment of it is nothing to warn of.
SAY_AFTER = 5.0


class Standstill:
    """Warns of runs that may wait for each other for ever, and of the same ones once.

    queues are the names of those that are read here.
    """

    def __init__(self, queues: Collection[str], *, slots: int) -> None:
        self._queues = queues
        self._slots = slots
        self._stuck: list[Run] = []
        self._since = 0.0
        self._said = False

    def look(self, runs: Sequence[Run]) -> None:
        """Look at what is running; to be called now and then."""
        stuck = list(runs) if self._all_wait(runs) else []
        if stuck != self._stuck:
            self._stuck, self._since, self._said = stuck, time.monotonic(), False
        if stuck and not self._said and time.monotonic() - self._since >= SAY_AFTER:
            self._said = True
            self._say(stuck[0])

    def _all_wait(self, runs: Sequence[Run]) -> bool:
        return len(runs) >= self._slots and all(self._waits(run) for run in runs)

    def _waits(self, run: Run) -> bool:
        return any(queue in self._queues for queue, _ in run.awaited)

    def _say(self, run: Run) -> None:
        queue, job_id = run.awaited[0]
        logger.warning(
            "every running job of this worker (%d) is waiting for the result of another job: job "
            "%s for job %s in queue %s. Unless another worker runs that one, the wait never ends. "
            "Raise the concurrency of this worker, move the other job to a queue with separate "
            "workers, or add it with on_success=True",
            self._slots, run.job.id, job_id, queue,
        )  # fmt: skip
