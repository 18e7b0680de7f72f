"""Ask for jobs to be cancelled, and for queues and events to be paused."""

from __future__ import annotations

from consumers.store.keys import Keys
from consumers.store.scripts import Call, load

# Paused events lie in one field that every worker reads every other second.
MAX_PAUSED_EVENTS = 1000
CANCEL, PAUSE = load("cancel"), load("pause")


def cancel(keys: Keys, job_id: str, generation: int | None, result_ttl_ms: int) -> Call:
    """Return the cancelling of a job; answers with a CancelOutcome's word and the generation."""
    meant = "" if generation is None else generation
    names = [keys.live(job_id), keys.stats]
    return Call(CANCEL, names, [keys.base, job_id, meant, result_ttl_ms])


def pause(keys: Keys, event: str | None, *, pauses: bool) -> Call:
    """Return the pausing or resuming of a queue or one event.

    Answers with the number of the pause state, -1 when too many events are paused.
    """
    what = "pause" if pauses else "resume"
    return Call(PAUSE, [keys.meta], [keys.base, what, event or "", MAX_PAUSED_EVENTS])
