"""What becomes of a run that has ended, by what befell it; its policy is asked last."""

from __future__ import annotations

import logging
from enum import Enum, auto
from typing import Any

from consumers.jobs.job import Job
from consumers.jobs.outcome import Buried, Ended, Outcome, Released
from consumers.jobs.texts import named
from consumers.lease.leases import Leases
from consumers.policy import Policy
from consumers.run.run import Run
from consumers.store.pause_state import PauseState

logger = logging.getLogger("taskmanager.worker")


class Verdict(Enum):
    """What becomes of a run."""

    ENDED = auto()
    """Its policy decides."""
    NOT_OURS = auto()
    """Somebody else has decided, or will."""
    CUT_OFF = auto()
    """The end of its event loop decides nothing: whatever it came to, it goes back."""
    LOST = auto()
    """Its lease may have run out: nothing may be recorded."""
    CANCELLED = auto()
    """Somebody cancelled the job."""
    TIMED_OUT = auto()
    """Its time was up; its policy decides about that."""
    STOPPED = auto()
    """A stop of the worker ended it: it goes back."""
    PUT_BACK = auto()
    """Its handler was not called and may not be now: it goes back."""


# To look a member up in its class costs as much as some calls, and every run that ends has this.
ENDED = Verdict.ENDED


def verdict_on(run: Run, loop_ends: int, leases: Leases) -> Verdict:
    """Return what becomes of a run that has ended: the first that applies."""
    delivery = run.delivery
    if delivery.given_up:
        return Verdict.NOT_OURS
    if loop_ends:
        return Verdict.CUT_OFF
    if run.refused and not delivery.begun:
        return _unrun(run, leases.has_expired(delivery))
    if leases.has_expired(delivery):
        return Verdict.LOST
    if delivery.cancelled:
        return Verdict.CANCELLED
    if run.timed_out:
        return Verdict.TIMED_OUT
    return Verdict.STOPPED if run.job.cancelled else ENDED


def _unrun(run: Run, expired: bool) -> Verdict:
    """Return what becomes of a job whose handler was not called, and may not be now.

    Nothing was done for it, so it goes back whether its lease holds or not: Redis
    takes that from its holder alone, and a job of ours need not wait to be reclaimed.
    """
    if run.delivery.cancelled:
        return Verdict.CANCELLED
    if expired:
        logger.warning(
            "job %s may have lost its lease before it ran; returning it to the queue", run.job.id
        )
    elif run.timed_out:
        return Verdict.TIMED_OUT
    if run.job.cancelled and not run.timed_out:
        return Verdict.STOPPED
    return Verdict.PUT_BACK


def put_back(state: PauseState, event: str) -> Released:
    """Return where a job goes that may not begin now, by the pause state of its queue."""
    if state.whole or not state.covers(event):
        # A paused queue's lanes are not read; else this worker stood still, or stops.
        return Released("paused" if state.whole else "held")
    # One event's jobs go out of the way of the others, to its own lane, not read then.
    return Released("paused", event)


def decided(policy: Policy, job: Job[Any], ended: Ended) -> Outcome:
    """Return the policy's outcome of a run; a policy that fails buries the job."""
    try:
        outcome: Outcome | None = policy.decide(job, ended)
    except BaseException as error:
        logger.exception("could not decide the outcome of job %s", job.id)
        return broken(error)
    return outcome if outcome is not None else broken(TypeError("decide returned no outcome"))


def broken(error: BaseException) -> Buried:
    """Return what becomes of a job that other code than its handler raised for."""
    return Buried("failed", f"the code around the handler raised {named(error)}")
