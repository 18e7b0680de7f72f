"""A job as producers make it, as it lies in a lane, and as a handler sees it."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Generator
from datetime import UTC, datetime
from typing import Any, Generic, Protocol

from pydantic_core import from_json
from typing_extensions import TypeVar

from consumers.jobs.bounds import check_progress
from consumers.jobs.envelope import ENVELOPE_VERSION, Envelope, NewJob
from consumers.jobs.lanes import DEFAULT_TYPE, Lane
from consumers.jobs.past import errors_in, noted, reason_in

D = TypeVar("D")
D_co = TypeVar("D_co", covariant=True, default=Any)

# Whatever an entry's head can hold fits: generations of 15 digits, and more deliveries than the
# 9 digits that were counted before and the hand-outs of one entry since.
_DELIVERY_BITS = 32
_GENERATION_BITS = 50


def read_options(stored: bytes) -> dict[str, Any]:
    """Return a job's options; raises ValueError for what is no JSON object.

    NaN is no JSON: it has no order, in which deadlines, for one, are kept.
    """
    options = from_json(stored, allow_inf_nan=False)
    if not isinstance(options, dict):
        raise ValueError("they are no JSON object")
    return options


class HandedOut(Protocol):
    """A delivery of the job; started_ms is when its handler was called, 0 before."""

    started_ms: int


class Notes(Protocol):
    """Where a running job writes its log and progress; worker is the name of who does."""

    worker: str

    def now_ms(self) -> int:
        """Return the time by Redis' clock, as well as the worker knows it, in ms since 1970."""

    def log(self, delivery: Any, message: str | object) -> Awaitable[None]:
        """Append a line to the log of a delivery's job."""

    def progress(
        self, delivery: Any, done: float, total: float | None, note: str | None
    ) -> Awaitable[None]:
        """Record how far a delivery's job is."""


class Job(Generic[D_co]):
    """One unit of work, as its handler sees it; Job[D] is one whose data is of the type D.

    data is the decoded payload. id, event, queue, partition, priority and correlation_id
    are what it was emitted with, options what was given beside them, for its retries for
    one. attempt starts at 1 and grows with each recorded failure, of which max_retries are
    followed by another attempt; delivery starts at 1 and grows each time the job is handed
    to a worker, crashes included. timeout is what a run may take, in seconds, None for any
    time. cancelled turns True when this run no longer counts; a synchronous handler should
    look at it in long loops.

    fence grows with each delivery of the id: whoever keeps the highest that was seen can
    refuse a worker that comes too late. generation counts the jobs of the queue, so it
    tells apart those of one id; type is that of the workers that the job is for; on_success
    has the jobs that are added when this one completes.
    """

    __slots__ = (
        "_delivery",
        "_envelope",
        "_notes",
        "attempt",
        "cancelled",
        "correlation_id",
        "data",
        "delivery",
        "event",
        "fence",
        "generation",
        "id",
        "max_retries",
        "on_success",
        "options",
        "partition",
        "priority",
        "queue",
        "timeout",
        "type",
    )

    def __init__(
        self,
        envelope: Envelope,
        lane: Lane,
        *,
        type: str,
        delivered: int,
        epoch: int,
        notes: Notes,
        delivery: HandedOut | None = None,
        decode: Callable[[bytes], Any] = from_json,
    ) -> None:
        self.id = envelope.id
        self.event = envelope.event
        self.queue = lane.queue
        self.type = type
        self.partition = lane.partition
        self.priority = lane.priority
        self.data: D_co = decode(envelope.data)
        self.options: dict[str, Any] = read_options(envelope.options) if envelope.options else {}
        self.generation = envelope.generation
        self.attempt = envelope.failures + 1
        self.delivery = envelope.deliveries + delivered
        # Both are given by the policy: what the options leave open comes from the handler.
        self.max_retries = 0
        self.timeout: float | None = None
        self.correlation_id: str | None = self.options.get("correlation_id")
        self.cancelled = False
        # Jobs to add in the same step that records this one as completed (G3).
        self.on_success: list[NewJob] = []
        run = (epoch << _GENERATION_BITS) + envelope.generation
        self.fence = (run << _DELIVERY_BITS) + self.delivery
        self._envelope = envelope
        self._notes = notes
        # What the notes know it by, and what knows when it began.
        self._delivery = delivery

    @property
    def name(self) -> str:
        """The event; the documents' other word for it."""
        return self.event

    @property
    def created_at(self) -> datetime:
        """When the job was emitted, in UTC, by Redis' clock."""
        return datetime.fromtimestamp(self._envelope.created_at / 1000, UTC)

    @property
    def started_at(self) -> datetime | None:
        """When the handler of this run was called, in UTC, by Redis' clock; None before."""
        started = 0 if self._delivery is None else self._delivery.started_ms
        return datetime.fromtimestamp(started / 1000, UTC) if started else None

    @property
    def worker(self) -> str:
        """The name of the worker that runs the job."""
        return self._notes.worker

    def now_ms(self) -> int:
        """Return the time by Redis' clock, as well as the worker knows it, in ms since 1970."""
        return self._notes.now_ms()

    @property
    def errors(self) -> list[dict[str, Any]]:
        """The job's last 10 errors, oldest first; DeadLetter says what each has."""
        return errors_in(noted(self._envelope.errors))

    @property
    def put_off_reason(self) -> str | None:
        """Why an earlier run of it was put off last, unless one has failed since; see Snooze."""
        return reason_in(noted(self._envelope.errors))

    @property
    def expires_at_ms(self) -> int | None:
        """When the job is given up if it has not started, in ms of Redis' clock; None for never.

        A job that began before does not expire: a retry, a snooze, a replay, or a run after
        its worker died. Whether that worker had started it is not known.
        """
        if self._has_begun:
            return None
        if (after := self.options.get("expires_ms")) is not None:
            return self._envelope.created_at + int(after)
        at: int | None = self.options.get("expires_at")
        return at

    @property
    def _has_begun(self) -> bool:
        it = self._envelope
        delivered = self.delivery - it.deliveries
        return it.first_started > 0 or it.failures + it.crashes > 0 or delivered > 1

    @property
    def is_last_attempt(self) -> bool:
        """Whether a failure of this run makes the job a dead letter."""
        return self.attempt > self.max_retries

    @property
    def idempotency_key(self) -> str:
        """A string that is the same in every delivery and attempt of this job.

        Hand it to services that de-duplicate requests by a key.
        """
        return f"{self.queue}/{self.id}/{self.generation}"

    def logger(self, message: str | object) -> Awaitable[None]:
        """Append a line (at most 4 KiB of text, or an object as JSON) to the job's log.

        The line is written at the call; await to know it is stored. In a
        synchronous handler the call blocks until then. While Redis is away it is
        repeated, and may then be there twice. Refused with LeaseLost when the
        job was taken over meanwhile.
        """
        return self._notes.log(self._delivery, message)

    def progress(
        self, done: float, total: float | None = None, note: str | None = None
    ) -> Awaitable[None]:
        """Record how far the job is: done of total, in any unit, and a short note.

        Written at the call, like logger. Raises InvalidInput for what is no number from
        0 to 2^53 and for a note that is no text; of a note 4 KiB are kept.
        """
        check_progress(done, total, note)
        return self._notes.progress(self._delivery, done, total, note)

    @staticmethod
    def fake(data: D, **fields: Any) -> FakeJob[D]:
        """Return a job to call a handler with in a unit test; nothing needs Redis.

        data is what the handler finds, unchanged. fields are attributes of the
        job (attempt=2, queue="mail"); what is logged is in its ``logged``, each
        progress in its ``progressed``.
        """
        return FakeJob(data, **fields)

    def __repr__(self) -> str:
        return f"<Job {self.id} {self.event} in {self.queue}, attempt {self.attempt}>"


class FakeJob(Job[D_co]):
    """A job that no queue holds; see Job.fake.

    logged has what its logger was given, progressed (done, total, note).
    """

    __slots__ = ("logged", "progressed")

    def __init__(self, data: Any, **fields: Any) -> None:
        recorded = _Recorded()
        envelope = Envelope("fake", "fake", b"null", b"", ENVELOPE_VERSION, 1, 0, 0, 0, 0)
        lane = Lane(fields.pop("queue", "default"), DEFAULT_TYPE)
        super().__init__(envelope, lane, type=DEFAULT_TYPE, delivered=1, epoch=0, notes=recorded)
        self.data = data
        self.logged = recorded.logged
        self.progressed = recorded.progressed
        for name, value in fields.items():
            if name.startswith("_") or name not in Job.__slots__:
                raise TypeError(f"a job has no attribute {name!r} that could be given")
            setattr(self, name, value)


class _Recorded:
    """The notes of a fake job."""

    worker = "fake"

    def __init__(self) -> None:
        self.logged: list[Any] = []
        self.progressed: list[tuple[float, float | None, str | None]] = []

    def now_ms(self) -> int:
        return int(time.time() * 1000)

    def log(self, delivery: Any, message: str | object) -> Awaitable[None]:
        self.logged.append(message)
        return _Noted()

    def progress(
        self, delivery: Any, done: float, total: float | None, note: str | None
    ) -> Awaitable[None]:
        self.progressed.append((done, total, note))
        return _Noted()


class _Noted:
    """Awaited by asynchronous handlers, dropped by synchronous ones."""

    def __await__(self) -> Generator[Any, None, None]:
        yield from ()
