"""Whether a run of a task is its last, decided as the engine will decide."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from consumers.errors import JobTimeout
from consumers.jobs.job import Job
from consumers.run.run import current_run
from processors.retries.groups import signal_of
from processors.retries.retry import RetryPolicy
from processors.retries.signals import Discard, Retry, Snooze
from taskmanager.handles.errors import JobCancelled


@dataclass(frozen=True, slots=True)
class Ending:
    """`final` is whether the job ends with this run; `error` is None if it went well."""

    final: bool
    error: BaseException | None = None


def ending_of(job: Job[Any], error: BaseException | None, policy: RetryPolicy) -> Ending:
    """Return how a run that raised `error`, or returned, ends its job.

    It is asked inside the handler, in whose thread Django's receivers are called. Only a lost lease
    can come in between, after which the job runs again.
    """
    run = current_run.get()
    if run is not None and job.cancelled:
        if run.delivery.cancelled:
            return Ending(True, JobCancelled(job.id, "cancelled"))
        if not run.timed_out:
            # Its worker stops, or has lost it: the job will run elsewhere.
            return Ending(False, error)
        error = JobTimeout(job.id, job.timeout or 0.0)
    return Ending(error is None or _is_last(job, error, policy), error)


def _is_last(job: Job[Any], error: BaseException, policy: RetryPolicy) -> bool:
    signal = signal_of(error)
    if isinstance(signal, Snooze):
        return False
    if isinstance(signal, Discard) or job.is_last_attempt:
        return True
    return not isinstance(signal, Retry) and not policy.wants(error)
