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
from consumers.jobs.routes import without_route

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
        raise ValueError("they are not a JSON object")
    return options


def expires_at_ms(envelope: Envelope, options: dict[str, Any], delivered: int) -> int | None:
    """Return when a job is given up, ms by Redis' clock; None for never, and once it has begun.

    `delivered` is how often its entry was handed out. A second time it is not known whether it had
    begun the first time, and counts as if it had.
    """
    if envelope.first_started > 0 or envelope.failures + envelope.crashes > 0 or delivered > 1:
        return None
    if (after := options.get("expires_ms")) is not None:
        return envelope.created_at + int(after)
    at: int | None = options.get("expires_at")
    return at


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
    """One unit of work, as its handler receives it. In `Job[D]`, D is the type of `data`.

    What was emitted:

    - `data`: the payload, decoded, and converted if the handler declares a type.
    - `id`, `event`, `queue`, `partition`, `priority`: as in the emit; see EmitArguments.
    - `correlation_id`: text that jobs emitted by this job inherit, or None.
    - `options`: the other options that are stored with the job, such as its retries.

    How it runs:

    - `attempt`: 1 for the first try; grows with each recorded failure. Crashes are not counted.
    - `max_retries`: how many failures are followed by another attempt.
    - `delivery`: 1 for the first time a worker got it; grows each time, crashes included.
    - `timeout`: seconds that one run may take, or None.
    - `cancelled`: turns True when this run no longer counts: it was cancelled, timed out, or its
      lease was lost. Check it in long loops of synchronous handlers.

    For advanced use:

    - `fence`: a fencing token: an integer that grows with each delivery of the id. A store that
      keeps the highest token it has seen can refuse writes of a worker that comes too late.
    - `generation`: the number of this job among all jobs of the queue; it distinguishes jobs that
      had the same id.
    - `type`: the type of workers that the job is for.
    - `on_success`: the jobs to be added when this one completes.
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
        type: str,
        delivered: int,
        epoch: int,
        notes: Notes,
        delivery: HandedOut | None = None,
        decode: Callable[[bytes], Any] = from_json,
    ) -> None:
        options, generation = envelope.options, envelope.generation
        self.id = envelope.id
        self.event = envelope.event
        self.queue = lane.queue
        self.type = type
        self.partition = lane.partition
        self.priority = lane.priority
        self.data: D_co = decode(envelope.data)
        if options and options.startswith(b'{"route":'):
            options = without_route(options)
        self.options: dict[str, Any] = read_options(options) if options else {}
        self.generation = generation
        self.attempt = envelope.failures + 1
        self.delivery = envelope.deliveries + delivered
        # Both are given by the policy: what the options leave open comes from the handler.
        self.max_retries = 0
        self.timeout: float | None = None
        self.correlation_id: str | None = self.options.get("correlation_id") if options else None
        self.cancelled = False
        # Jobs to add in the same step that records this one as completed (G3).
        self.on_success: list[NewJob] = []
        run = (epoch << _GENERATION_BITS) + generation
        self.fence = (run << _DELIVERY_BITS) + self.delivery
        self._envelope = envelope
        self._notes = notes
        # What the notes know it by, and what knows when it began.
        self._delivery = delivery

    @property
    def name(self) -> str:
        """The event; another name for it."""
        return self.event

    @property
    def created_at(self) -> datetime:
        """When the job was emitted, in UTC, by Redis' clock."""
        return datetime.fromtimestamp(self._envelope.created_at / 1000, UTC)

    @property
    def started_at(self) -> datetime | None:
        """When the handler of this run was called, in UTC, by Redis' clock. None before."""
        started = 0 if self._delivery is None else self._delivery.started_ms
        return datetime.fromtimestamp(started / 1000, UTC) if started else None

    @property
    def worker(self) -> str:
        """The name of the worker that runs the job."""
        return self._notes.worker

    def now_ms(self) -> int:
        """Return the time by Redis' clock, as far as the worker knows it, in ms since 1970."""
        return self._notes.now_ms()

    @property
    def errors(self) -> list[dict[str, Any]]:
        """The last 10 errors of the job, oldest first, as dicts; DeadLetter lists their keys."""
        return errors_in(noted(self._envelope.errors))

    @property
    def put_off_reason(self) -> str | None:
        """The reason of the last Snooze that postponed the job. None if it has failed since."""
        return reason_in(noted(self._envelope.errors))

    @property
    def expires_at_ms(self) -> int | None:
        """When the job is given up if it has not started, in ms by Redis' clock; None for never.

        A job that has begun does not expire: not at a retry, a snooze or a replay, nor at a run
        after its worker died, even if it is not known whether that worker had started it.
        """
        it = self._envelope
        return expires_at_ms(it, self.options, self.delivery - it.deliveries)

    @property
    def is_last_attempt(self) -> bool:
        """Whether the job becomes a dead letter if this run fails."""
        return self.attempt > self.max_retries

    @property
    def idempotency_key(self) -> str:
        """A string that is the same in every delivery and attempt of this job.

        Pass it to services that use such keys to recognize repeated requests. A dead letter that
        is replayed is a new job, with a new key.
        """
        return f"{self.queue}/{self.id}/{self.generation}"

    def logger(self, message: str | object) -> Awaitable[None]:
        """Append a line to the log of the job: text, or an object as JSON, of at most 4 KiB.

        The line is on its way when the call returns; await it to know that it is stored. In a
        synchronous handler the call blocks until then. While Redis is away the write is repeated,
        so the line may appear twice. Raises LeaseLost if another worker has taken over the job.

        Read the log with `handle.logs()`, or the command `jobs logs`.
        """
        return self._notes.log(self._delivery, message)

    def progress(
        self, done: float, total: float | None = None, note: str | None = None
    ) -> Awaitable[None]:
        """Report how far the job is: `done` of `total`, in any unit, and a short note.

        It is sent like a line of `logger`. Read it with `handle.progress()`. Raises InvalidInput
        unless the numbers are from 0 to 2^53 and the note is text; 4 KiB of the note are kept.
        """
        check_progress(done, total, note)
        return self._notes.progress(self._delivery, done, total, note)

    @staticmethod
    def fake(data: D, **fields: Any) -> FakeJob[D]:
        """Return a job for calling a handler in a unit test. It needs no Redis.

        The handler finds `data` unchanged. `fields` set attributes, such as `attempt=2` or
        `queue="mail"`. What the handler logs is in the job's `logged`, its progress in
        `progressed`.
        """
        return FakeJob(data, **fields)

    def __repr__(self) -> str:
        return f"<Job {self.id} {self.event} in {self.queue}, attempt {self.attempt}>"


class FakeJob(Job[D_co]):
    """The job that Job.fake returns, for unit tests.

    - `logged`: what `logger` was given, in order.
    - `progressed`: a tuple (done, total, note) for each call of `progress`.
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
                raise TypeError(f"a job has no attribute {name!r} that can be set")
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
