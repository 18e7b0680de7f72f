"""The pieces of a queue's state, as plain values."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

from consumers.jobs.envelope import Envelope, NewJob

GROUP = "workers"
MAX_LANES = 2
MAX_EVENT_LANES = 2
MOST_LETTERS = 3
# Nobody deletes an outbox here.
OUTBOX_EPOCH = "1"
PUT_OFF = ("delayed", "debounced", "retrying")
UNREGISTERED = "unregistered"
# Each run's handler is called so long after its job was created.
BEGINS_AFTER_MS = 5
_GUARD = re.compile(r"([itl]) (\S+)(?: (\d+) (\d+))?")


@dataclass(eq=False)
class Run:
    """One generation of a job id, for as long as it has a place.

    place is a stream's name, or one of PUT_OFF. holder is who has it and how often it was
    delivered to them. mark is cancelled when it was cancelled while it waited, cancelling
    when somebody had it.
    """

    id: str
    generation: int
    event: str
    data: bytes
    lane: str
    key: str = ""
    failures: int = 0
    deliveries: int = 0
    crashes: int = 0
    errors: bytes = b""
    created: int | None = None
    # When it began first, 1 where nobody knows that; as far as its head says.
    started: int = 0
    place: str = ""
    entry: str | None = None
    holder: tuple[str, int] | None = None
    expired: bool = False
    mark: str = ""
    due: int | None = None
    # While due is open: how many ms from now it is, and the latest it may be.
    due_in: int = 0
    due_by: int | None = None
    # When it is due since somebody edited that; the index does not know of it.
    made_due: int | None = None

    @property
    def score(self) -> int:
        """When it is promoted."""
        return self.made_due or self.due or 0

    @property
    def first_start(self) -> int:
        """When it began first, now that a handler was called."""
        assert self.created is not None
        return self.started if self.started > 1 else self.created + BEGINS_AFTER_MS

    @property
    def fields(self) -> list[bytes]:
        """The fields of its entry."""
        counts = f"{self.failures}:{self.deliveries}:{self.crashes}"
        head = f"1:{self.generation}:{self.created}:{counts}"
        head += f":a={self.started}" if self.started > 1 else ""
        head += (":r=1" if self.started else "") + (self.key and f":i={self.key}")
        texts = ("head", head, "id", self.id, "event", self.event)
        fields = [*(text.encode() for text in texts), b"data", self.data, b"options", b""]
        return [*fields, b"errors", self.errors] if self.errors else fields


@dataclass(eq=False)
class Letter:
    """A dead letter: the run as it was, and what went wrong."""

    run: Run
    reason: str
    error: str
    errors: bytes
    delivered: int
    entry: str | None = None
    # The letter that the id had already.
    before: Letter | None = None

    @property
    def facts(self) -> list[bytes]:
        """Its fields behind job, size, lane and group."""
        texts = ("reason", self.reason, "error", self.error)
        counted = (b"delivered", str(self.delivered).encode())
        entry = replace(self.run, errors=b"").fields
        return [*(text.encode() for text in texts), b"errors", self.errors, *counted, *entry]

    @property
    def size(self) -> int:
        """The bytes it counts for."""
        return sum(map(len, self.facts))


@dataclass
class Key:
    """The key of a guard: the job it points at, and whether its time is bounded."""

    id: str
    generation: int
    ends: bool
    since: int | None = None


@dataclass
class Posted:
    """A child in the outbox."""

    job: NewJob
    entry: str | None = None


@dataclass
class Plan:
    """A schedule: its definition, its next and its last fire.

    look is when somebody is to look at it, None for never; while it is open, look_in is how
    many ms from now that is.
    """

    digest: str
    version: int
    slot: int | None
    look: int | None
    look_in: int = 0
    fired: int | None = None
    paused: str | None = None
    last: str | None = None
    fires: int = 0
    skipped: int = 0

    def is_past(self, slot: int | None) -> bool:
        """Whether a fire time is not after the last one."""
        return slot is not None and self.fired is not None and slot <= self.fired


@dataclass(frozen=True)
class Guard:
    """What is asked before a job is added."""

    kind: str
    digest: str
    window: int
    longest: int

    @classmethod
    def of(cls, job: NewJob) -> Guard | None:
        """Return the guard of a job, None when it has none."""
        found = _GUARD.fullmatch(job.guard)
        return cls(found[1], found[2], int(found[3] or 0), int(found[4] or 0)) if found else None


@dataclass(frozen=True)
class Found:
    """The job that stands for one that was emitted, by its guard or by its id."""

    id: str
    generation: int
    guard: Guard | None = None

    @property
    def is_changed(self) -> bool:
        return self.guard is not None and self.guard.kind == "t"

    @property
    def word(self) -> str:
        return f"~{self.generation}:{self.id}" if self.guard else f"={self.generation}"


@dataclass(frozen=True)
class Token:
    """A delivery as its consumer knows it; with the entry and the count it is its proof."""

    place: str
    entry: str
    consumer: str
    count: int
    envelope: Envelope
    cancelled: bool = False
    was_solo: bool = False

    def __repr__(self) -> str:
        run = f"{self.envelope.id}/{self.envelope.generation}"
        return f"<{run} in {self.place}, {self.consumer}'s, delivered {self.count}>"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        # Hypothesis would print every field.
        printer.text(repr(self))
