"""Ask what is known of jobs, and for the news of a job's end."""

from __future__ import annotations

from collections.abc import Iterable

from consumers.connections.link import Argument
from consumers.store.keys import Keys, bucket
from consumers.store.scripts import Call, load
from consumers.store.steps import BATCH_BYTES

INSPECT, ARE_LIVE, FORGET_WAITER = load("inspect"), load("are_live"), load("forget_waiter")
EXPLAIN, WAITING_IDS = load("explain"), load("waiting_ids")


def inspect(keys: Keys, job_id: str, *, channel: str = "", waiter_ttl_ms: int = 0) -> Call:
    """Return the question for all that is known of a job; see inspect.lua for the answer."""
    return Call(INSPECT, _of_a_job(keys, job_id), [keys.base, job_id, channel, waiter_ttl_ms])


def explain(keys: Keys, job_id: str, *, entries: int, lanes: int) -> Call:
    """Return the question for all that explains where a job is; see explain.lua for the answer.

    At most so many entries before it are counted, and jobs in so many lanes of higher priority.
    """
    return Call(EXPLAIN, _of_a_job(keys, job_id), [keys.base, job_id, entries, lanes])


def waiting_ids(keys: Keys, most: int, lanes: int) -> Call:
    """Return the question for some jobs that wait, in so many lanes or put off.

    Answers with how many there are, and ids.
    """
    return Call(WAITING_IDS, [keys.lanes, keys.delayed], [keys.base, most, lanes, BATCH_BYTES])


def are_live(keys: Keys, jobs: Iterable[tuple[str, int]]) -> Call:
    """Ask which jobs, each an id and a generation, are live; answers with a 1 or 0 for each.

    Where their entries are large it answers for the first of them only, at least one.
    """
    args: list[Argument] = [keys.base, BATCH_BYTES]
    for job_id, generation in jobs:
        args += [bucket(job_id), job_id, generation]
    return Call(ARE_LIVE, [keys.meta], args)


def forget_waiter(keys: Keys, job_id: str, channel: str) -> Call:
    """Return the removal of a channel that waits for a job's end; answers 1 if it was there."""
    return Call(FORGET_WAITER, [keys.waiters], [job_id, channel])


def _of_a_job(keys: Keys, job_id: str) -> list[str]:
    return [keys.live(job_id), keys.result(job_id), keys.dead_index, keys.dead]
