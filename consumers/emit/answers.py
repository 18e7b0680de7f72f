"""Read what became of the jobs of an emit: a word for each or for a row of them, see emit.lua."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice

from consumers.emit.batches import Answer, Emitted
from consumers.errors import QueueFull, TooManyLanes
from consumers.jobs.envelope import NewJob
from consumers.jobs.lanes import MAX_LANES
from consumers.store.steps import refused_key, words

# Called with a job that was not added because its id is live, and with the answer.
Dropped = Callable[[NewJob, Emitted], object]
# The constructor of a NamedTuple is a Python function, which takes twice as long.
_new = tuple.__new__


def read_answers(
    answer: bytes, jobs: Sequence[NewJob], depth: int | None, on_dropped: Dropped | None
) -> list[Answer]:
    """Return what became of each job of a batch; depth is the limit that the queue has.

    Raises ValueError unless the answer is to as many jobs.
    """
    answers, each = list[Answer](), iter(jobs)
    for word in words(answer):
        if word[0] != "+":
            answers += [_other(word, job, depth, on_dropped) for job in islice(each, 1)]
            continue
        # Jobs that were added in a row have one word.
        first, _, number = word[1:].partition("*")
        row = islice(each, int(number or 1))
        answers += [_new(Emitted, (job.id, True, run)) for run, job in enumerate(row, int(first))]
    if len(answers) != len(jobs) or next(each, None) is not None:
        raise ValueError(f"{len(answers)} answers to {len(jobs)} jobs")
    return answers


def _other(word: str, job: NewJob, depth: int | None, on_dropped: Dropped | None) -> Answer:
    """Return the answer to an emit that added no job."""
    kind = word[0]
    if kind in "=~":
        run, _, other = word[1:].partition(":")
        emitted = Emitted(other or job.id, False, int(run))
        if kind == "=" and on_dropped is not None:
            on_dropped(job, emitted)
        return emitted
    if kind == "F":
        return QueueFull(job.lane.queue, f"the limit is {depth} jobs")
    if kind == "L":
        return TooManyLanes(job.lane.queue, job.lane.name, MAX_LANES)
    return refused_key(word)
