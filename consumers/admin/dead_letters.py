"""Read, replay and purge the dead letters of a queue."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from pydantic_core import from_json

from consumers.connections.wire import Wire
from consumers.jobs.clauses import Head, read_head
from consumers.jobs.lanes import Lane, listed_lanes
from consumers.jobs.moments import moment
from consumers.jobs.outcome import AFTER_A_RUN, Buried
from consumers.jobs.past import errors_in
from consumers.store.delivery import Delivery
from consumers.store.door import Door
from consumers.store.keys import Keys
from consumers.store.replaying import dead_stream, purge, replay_items
from consumers.store.scripts import call
from consumers.store.steps import BATCH_ITEMS, words

_AGAIN = "A"


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A job that was given up, or an entry of the queue that never was a job.

    Times are in UTC, by Redis' clock.

    - `id`, `event`, `queue`, `data`: as the job was emitted.
    - `reason`: why it was given up, as one of the words listed below.
    - `error`: the reason as text, with the traceback if there is one.
    - `errors`: its last 10 errors, oldest first, as dicts. Their keys are listed below.
    - `attempts`: how many runs were recorded.
    - `deliveries`: how often it was handed to a worker, including runs cut off by a crash.
    - `created_at`: when it was emitted. None if not known.
    - `started_at`: when its first attempt began. None if not known.
    - `died_at`: when it was given up.
    - `run`: which run of the id died; see JobHandle.
    - `raw`: for an entry that never was a job, its bytes. It has no data, and the id
      `foreign:<entry>`. None for jobs.
    - `entry`: the place of the dead letter in its stream.

    The values of `reason`:

    - "failed": it raised an error, and had no retries left.
    - "bad_payload": its data does not fit its handler; it did not run.
    - "bad_result": its result is not JSON, or has more than 64 KiB.
    - "bad_outcome": its end could not be recorded, for example a reason that is not text.
    - "missing": its entry was deleted in Redis while it ran.
    - "crash_loop": too many workers died while they ran it.
    - "no_handler": no worker handled its event within `no_handler_deadline`.
    - "newer_version", "too_many_lanes": a handler emitted it to another queue with
      `on_success=True`, and that queue could not take it.
    - "foreign": it never was a job.

    Each dict in `errors`, here and in JobInfo and Job, has these keys:

    - `at`, `started`: when the run failed and when it began, in ms since 1970.
    - `attempt`, `delivery`: as in Job, at that time.
    - `worker`: the name of the worker.
    - `type`: the class of the error, such as "builtins.ValueError".
    - `error`: class and message in one line.
    """

    id: str
    event: str
    queue: str
    data: Any
    raw: bytes | None
    reason: str
    error: str
    errors: list[dict[str, Any]] = field(repr=False)
    attempts: int
    deliveries: int
    died_at: datetime
    run: int = field(repr=False)
    entry: str = field(repr=False)
    created_at: datetime | None = field(default=None, repr=False)
    started_at: datetime | None = field(default=None, repr=False)


class DeadLetters:
    """The dead letters of one queue."""

    def __init__(self, wire: Wire, keys: Keys, *, where: str) -> None:
        self._wire = wire
        self._keys = keys
        self._door = Door(wire, keys, where=where)
        # The door takes one batch at a time.
        self._replaying = asyncio.Lock()

    async def newest(self, limit: int, *, before: str = "+") -> list[DeadLetter]:
        """Return at most limit letters, newest first; before is an entry to go on from."""
        end = before if before == "+" else f"({before}"
        stream = await dead_stream(self._wire, self._keys)
        found = await self._wire.send("XREVRANGE", stream, end, "-", "COUNT", limit)
        return [letter_of(self._keys.queue, entry.decode(), fields) for entry, fields in found]

    async def get(self, job_id: str) -> DeadLetter | None:
        """Return the latest letter of a job id; None when there is none."""
        found = await self._latest(job_id)
        return None if found is None else letter_of(self._keys.queue, *found)

    async def lane_of(self, job_id: str) -> Lane | None:
        """Return the lane that a replay of a job needs; None if its letter names none."""
        _, fields = await self._latest(job_id) or ("", ())
        facts = dict(zip(fields[::2], fields[1::2], strict=True))
        return next(iter(listed_lanes(self._keys.queue, [facts.get(b"lane", b"")])), None)

    async def _latest(self, job_id: str) -> tuple[str, Sequence[bytes]] | None:
        """Return the latest letter of a job id as its entry and the flat fields of that."""
        stream, entry = await asyncio.gather(
            dead_stream(self._wire, self._keys),
            self._wire.send("HGET", self._keys.dead_index, job_id),
        )
        if entry is None:
            return None
        found = await self._wire.send("XRANGE", stream, entry, entry)
        return (entry.decode(), found[0][1]) if found else None

    async def oldest(self, after: str, limit: int) -> list[DeadLetter]:
        """Return at most limit letters younger than an entry ("-" for all), oldest first."""
        start = after if after == "-" else f"({after}"
        stream = await dead_stream(self._wire, self._keys)
        found = await self._wire.send("XRANGE", stream, start, "+", "COUNT", limit)
        return [letter_of(self._keys.queue, entry.decode(), fields) for entry, fields in found]

    async def replay(self, job_ids: Sequence[str], *, patience: float) -> list[str]:
        """Bring letters back, each id once, at most 500; return a word each (see replay.lua).

        A repeated request changes nothing. Raises RedisUnavailable after patience seconds.
        """
        until, found = time.monotonic() + patience, [_AGAIN] * len(job_ids[:BATCH_ITEMS])
        async with self._replaying:
            # A script takes about 1 MiB; each takes one at least.
            while _AGAIN in found:
                done = found.index(_AGAIN)
                items = replay_items(self._keys, job_ids[done:BATCH_ITEMS])
                found[done:] = words(await self._door.send(items, until=until))
        return found

    async def purge(self, older_than: float) -> int:
        """Delete the letters older than some seconds; return how many. Goes in steps of 500."""
        purged: int = 0
        while True:
            step = purge(self._keys, round(older_than * 1000))
            deleted, more = await call(self._wire, step)
            purged += deleted
            if not more:
                return purged


def letter_of(queue: str, entry: str, fields: Sequence[bytes]) -> DeadLetter:
    """Return the letter in the flat fields of an entry of the dead letters."""
    facts = dict(zip(fields[::2], fields[1::2], strict=True))
    head = read_head(facts.get(b"head", b""))
    return _letter(
        id=facts.get(b"job", f"foreign:{entry}".encode()).decode("utf-8", "replace"),
        event=facts.get(b"event", b"").decode("utf-8", "replace"),
        queue=queue,
        data=facts.get(b"data", b"null"),
        raw=facts.get(b"raw"),
        reason=facts.get(b"reason", b"foreign").decode("utf-8", "replace"),
        error=facts.get(b"error", b"").decode("utf-8", "replace"),
        errors=facts.get(b"errors", b""),
        failures=0 if head is None else head.failures,
        created_at=None if head is None else moment(head.created_at),
        first_started=0 if head is None else _first_start(head, facts.get(b"errors", b"")),
        deliveries=(0 if head is None else head.deliveries) + int(facts.get(b"delivered", b"0")),
        died_at=moment(int(entry.split("-")[0])),
        run=0 if head is None else head.generation,
        entry=entry,
    )


def letter_about(delivery: Delivery, buried: Buried) -> DeadLetter:
    """Return the letter of a job that was just buried, as far as its worker knows it.

    died_at is this machine's time, entry is empty.
    """
    envelope = delivery.envelope
    return _letter(
        id=envelope.id,
        event=envelope.event,
        queue=delivery.stream.lane.queue,
        data=envelope.data,
        raw=buried.raw,
        reason=buried.reason,
        error=buried.error,
        errors=buried.errors or envelope.errors,
        failures=envelope.failures,
        created_at=moment(envelope.created_at) if envelope.version else None,
        first_started=delivery.first_started,
        deliveries=envelope.deliveries + delivery.count,
        died_at=datetime.now(UTC),
        run=envelope.generation,
        entry="",
    )


def _letter(
    *,
    data: bytes,
    raw: bytes | None,
    reason: str,
    errors: bytes,
    failures: int,
    first_started: int,
    **known: Any,
) -> DeadLetter:
    """Return a letter; data and errors are JSON, failures the runs that had failed before.

    first_started is in ms, up to 1 where it is not known.
    """
    listed = _data(errors) or []
    if isinstance(listed, list):
        listed = errors_in(listed)
    return DeadLetter(
        data=None if raw is not None else _data(data),
        raw=raw,
        reason=reason,
        errors=listed,
        attempts=failures + (reason in AFTER_A_RUN),
        started_at=moment(first_started) if first_started > 1 else None,
        **known,
    )


def _first_start(head: Head, errors: bytes) -> int:
    """Return when a job began first (ms), up to 1 where that is not known.

    A head does not say it of a job that died of its first run; then its only error does.
    """
    listed = _data(errors) if head.begins_first else None
    first = listed[-1] if isinstance(listed, list) and listed else None
    started = first.get("started") if isinstance(first, dict) else None
    return started if isinstance(started, int) else head.first_started


def _data(stored: bytes) -> Any:
    try:
        return from_json(stored)
    except ValueError:
        return None
