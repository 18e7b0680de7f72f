"""What is known of a job id, as a value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic_core import from_json

from consumers.admin.dead_letters import DeadLetter, letter_of
from consumers.jobs.envelope import Envelope, read_envelope

State = Literal[
    "waiting", "delayed", "debounced", "parked", "running", "retrying",
    "completed", "dead", "cancelled", "unknown",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class End:
    """How a run ended: state is completed, dead or cancelled; value its JSON, letter or reason.

    kept is what else is kept of the run, see run_facts; those who wait are not told that.
    """

    generation: int
    state: str
    value: bytes
    kept: bytes = field(default=b"", repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Facts:
    """All that is known of a job id.

    generation and envelope are those of the live job, place the name of where it is, lane that
    of its lane or of the one that it comes to when it is due, entry its entry there, due_ms when
    it is due if it is put off; consumer holds it and delivered counts hand-outs of this entry;
    held_since_ms is when it was handed out, or renewed last if it has been since, 0 when
    nobody has it. end is how the last run that is remembered ended, letter its dead letter.
    """

    id: str
    generation: int | None
    place: str
    lane: str
    entry: str
    due_ms: int | None
    envelope: Envelope | None
    consumer: str
    delivered: int
    held_since_ms: int
    end: End | None
    letter: DeadLetter | None

    @property
    def state(self) -> State:
        """The state of the live job, else of the last one."""
        if self.generation is not None:
            return self._live_state
        end, letter = self.past(None)
        if end is None:
            return "unknown" if letter is None else "dead"
        return end.state  # type: ignore[return-value]

    def past(self, run: int | None) -> tuple[End | None, DeadLetter | None]:
        """Return how one run ended, and its letter; None stands for the latest that ended."""
        end = self.end if self.end is not None and run in (None, self.end.generation) else None
        letter = self.letter if self.letter is not None and run in (None, self.letter.run) else None
        if end is not None and letter is not None and end.generation != letter.run:
            # The letter of one run is still there when a later one of its id has ended.
            return (end, None) if end.generation > letter.run else (None, letter)
        return end, letter

    @property
    def _live_state(self) -> State:
        if self.due_ms is not None:
            return self.place  # type: ignore[return-value]
        if ":" not in self.place:
            # It waits in no lane but where a newer version has put it.
            return "parked"
        return "running" if self.consumer else "waiting"


def facts_of(queue: str, job_id: str, answer: Sequence[Any]) -> Facts:
    """Return the facts in an answer of inspect.lua."""
    pointer, fields, consumer, delivered, since, result, letter, entry, lane = answer
    generation = place = due = None
    at = ""
    if pointer:
        number, _, where, at = pointer.decode().split(" ")
        generation, place = int(number), where
        due = int(float(at)) if where in ("delayed", "debounced", "retrying") else None
    return Facts(
        id=job_id,
        generation=generation,
        place=place or "",
        lane=lane.decode("ascii", "replace"),
        entry=at if due is None else "",
        due_ms=due,
        envelope=read_envelope(fields) if fields else None,
        consumer=consumer.decode(),
        delivered=delivered,
        held_since_ms=since,
        end=end_of(result) if result else None,
        letter=letter_of(queue, entry.decode(), letter) if letter else None,
    )


def end_of(stored: bytes) -> End:
    """Return the end in a stored result: "<generation> <state>[;<facts>] <value>"."""
    generation, said, value = stored.split(b" ", 2)
    state, _, kept = said.partition(b";")
    return End(int(generation), state.decode(), value, kept)


def archived_end(stored: bytes | None, letter: DeadLetter | None) -> End | None:
    """Return the end that was archived; None when the queue knows better.

    A worker archives it before it settles, and may have lost the job by then.
    """
    end = end_of(stored) if stored else None
    if end is None or letter is None or end.state == "dead":
        return end
    if letter.run == end.generation:
        return None
    return end


def value_of(end: End) -> Any:
    """Return the value that a completed run returned."""
    return from_json(end.value)
