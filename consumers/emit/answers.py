"""Read what became of the jobs of an emit: a word a job, or one for many, see emit.lua.

`+17` is a job that was added as run 17; `+17*400` is 400 of them, the last as run 416.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import repeat
from operator import attrgetter

from consumers.emit.batches import Answer, Emitted
from consumers.errors import QueueFull
from consumers.jobs.envelope import NewJob
from consumers.jobs.routes import no_room_for
from consumers.store.steps import refused_key, words

# Called with a job that was not added because its id is live, and with the answer.
Dropped = Callable[[NewJob, Emitted], object]
# The constructor of a NamedTuple is a Python function, which takes twice as long.
_new = tuple.__new__
_id = attrgetter("id")


def read_answers(
    answer: bytes, jobs: Sequence[NewJob], depth: int | None, on_dropped: Dropped | None
) -> list[Answer]:
    """Return what became of each job of a batch; depth is the limit that the queue has.

    Raises ValueError or IndexError for an answer that is not one to these jobs.
    """
    answers: list[Answer] = []
    for word in words(answer):
        at = len(answers)
        if word[0] != "+":
            answers.append(_other(word, jobs[at], depth, on_dropped))
        elif "*" in word:
            first, number = map(int, word[1:].split("*"))
            answers += _added(jobs[at : at + number], first, number)
        else:
            answers.append(_new(Emitted, (jobs[at].id, True, int(word[1:]))))
    if len(answers) != len(jobs):
        raise ValueError(f"{len(answers)} answers to {len(jobs)} jobs")
    return answers


def _added(jobs: Sequence[NewJob], first: int, number: int) -> Iterable[Emitted]:
    """Return the answers to jobs that were added one after another."""
    each = zip(map(_id, jobs), repeat(True), range(first, first + number))
    if len(jobs) != number:
        raise ValueError(f"{number} jobs added of {len(jobs)}")
    return map(_new, repeat(Emitted), each)


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
        return no_room_for(job.lane)
    return refused_key(word)
