"""Ask Redis for the state of jobs and queues. Nothing here changes a job."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from pydantic_core import from_json

from consumers.admin.dead_letters import DeadLetter, letter_of
from consumers.connections.clock import server_ms
from consumers.connections.wire import Wire
from consumers.jobs.envelope import Envelope, read_envelope
from consumers.jobs.lanes import Lane, listed_lanes
from consumers.store.asking import inspect
from consumers.store.keys import Fleet, Keys
from consumers.store.pause_state import FIELDS, PauseState
from consumers.store.scripts import call

# What HINCRBY takes for a number.
_NUMBER = re.compile(rb"-?[0-9]{1,19}")

State = Literal[
    "waiting", "delayed", "debounced", "parked", "running", "retrying",
    "completed", "dead", "cancelled", "unknown",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class End:
    """How a run ended: state is completed, dead or cancelled; value its JSON, letter or reason."""

    run: int
    state: str
    value: bytes


@dataclass(frozen=True, slots=True)
class Facts:
    """All that is known of a job id.

    run and envelope are those of the live job, lane the name of where it is,
    due_ms when it is due if it is put off; consumer holds it and delivered
    counts hand-outs of this entry. end is how the last run that is remembered
    ended, letter its dead letter.
    """

    id: str
    run: int | None
    place: str
    due_ms: int | None
    envelope: Envelope | None
    consumer: str
    delivered: int
    end: End | None
    letter: DeadLetter | None

    @property
    def state(self) -> State:
        """The state of the live job, else of the last one."""
        if self.run is not None:
            return self._live_state
        if self.letter is not None and (self.end is None or self.end.state == "dead"):
            return "dead"
        return self.end.state if self.end is not None else "unknown"  # type: ignore[return-value]

    @property
    def _live_state(self) -> State:
        if self.due_ms is not None:
            return self.place  # type: ignore[return-value]
        if ":" not in self.place:
            # It waits in no lane but where a newer version has put it.
            return "parked"
        return "running" if self.consumer else "waiting"


@dataclass(frozen=True, slots=True)
class LaneStats:
    """One lane: waiting and active jobs, and the age of the oldest waiting one (ms)."""

    name: str
    waiting: int
    active: int
    oldest_waiting_ms: int | None


@dataclass(frozen=True, slots=True)
class QueueStats:
    """The figures of a queue.

    waiting, delayed, active (delivered and not settled), parked and dead are
    how many there are now; the totals count since the queue was made;
    oldest_waiting_ms is how long the oldest waiting job has waited. Jobs that were cancelled
    in their lane are counted there until they are passed over, and in waiting not any more.
    debounced_total is how many emits of storms became part of another one, vanished_total
    how many jobs were found to be gone with entries that somebody deleted.
    """

    waiting: int
    delayed: int
    active: int
    parked: int
    dead: int
    completed_total: int
    failed_total: int
    retried_total: int
    oldest_waiting_ms: int | None
    lanes: list[LaneStats] = field(default_factory=list)
    paused: bool = False
    paused_events: list[str] = field(default_factory=list)
    cancelled_total: int = 0
    debounced_total: int = 0
    vanished_total: int = 0


class Inspector:
    """Reads one queue; archive is the connection to where results, logs and progress are."""

    def __init__(self, wire: Wire, keys: Keys, *, archive: Wire | None = None) -> None:
        self._wire = wire
        self._archive = wire if archive is None else archive
        self._keys = keys

    async def job(self, job_id: str, *, channel: str = "", waiter_ttl_ms: int = 0) -> Facts:
        """Return what is known of a job; with a channel, have its end told there."""
        question = inspect(self._keys, job_id, channel=channel, waiter_ttl_ms=waiter_ttl_ms)
        answer = await call(self._wire, question)
        facts = facts_of(self._keys.queue, job_id, answer)
        if self._archive is self._wire:
            return facts
        result = await self._archive.send("GET", self._keys.result(job_id))
        return replace(facts, end=_archived_end(result, facts.letter))

    async def logs(self, job_id: str) -> list[tuple[int, str]]:
        """Return the lines of a job's log, each with its time in ms; the last 1,000."""
        lines = await self._archive.send("LRANGE", self._keys.log(job_id), 0, -1)
        pairs = (line.decode("utf-8", "replace").partition(" ") for line in lines)
        return [(int(at), message) for at, _, message in pairs]

    async def progress(self, job_id: str) -> dict[str, str]:
        """Return the last progress of a job: at, done, total, note; empty when there is none."""
        flat = await self._archive.send("HGETALL", self._keys.progress(job_id))
        return {
            name.decode(): value.decode("utf-8", "replace")
            for name, value in zip(flat[::2], flat[1::2], strict=True)
        }

    async def stats(self) -> QueueStats:
        """Return the queue's figures; costs a few commands a lane, whatever its length."""
        names, delayed, dead, counters, cancelled, meta = await asyncio.gather(
            self._wire.send("ZRANGE", self._keys.lanes, 0, -1),
            self._wire.send("ZCARD", self._keys.delayed),
            self._wire.send("XLEN", self._keys.dead),
            self._wire.send("HGETALL", self._keys.stats),
            self._wire.send("SCARD", self._keys.cancelled),
            self._wire.send("HMGET", self._keys.meta, *FIELDS),
        )
        lanes = listed_lanes(self._keys.queue, names)
        lanes.sort(key=lambda lane: (lane.priority, lane.name), reverse=True)
        found = await asyncio.gather(*(self._lane(lane) for lane in lanes))
        counted = _counted(counters)
        paused = PauseState.read(meta)
        ages = [it.oldest_waiting_ms for it in found if it.oldest_waiting_ms is not None]
        return QueueStats(
            waiting=max(0, sum(lane.waiting for lane in found) - cancelled),
            delayed=delayed,
            active=sum(lane.active for lane in found),
            parked=0,
            dead=dead,
            completed_total=counted.get(b"completed", 0),
            failed_total=counted.get(b"dead", 0),
            retried_total=counted.get(b"retried", 0),
            oldest_waiting_ms=max(ages, default=None),
            lanes=list(found),
            paused=paused.whole,
            paused_events=sorted(paused.events),
            cancelled_total=counted.get(b"cancelled", 0),
            debounced_total=counted.get(b"debounced", 0),
            vanished_total=counted.get(b"vanished", 0),
        )

    async def due(self) -> int:
        """Return how many put-off jobs are due and not in their lanes yet."""
        now = await server_ms(self._wire)
        count: int = await self._wire.send("ZCOUNT", self._keys.delayed, "-inf", now)
        return count

    async def _lane(self, lane: Lane) -> LaneStats:
        parts = await asyncio.gather(
            self._stream(lane, self._keys.front(lane)), self._stream(lane, self._keys.lane(lane))
        )
        ages = [age for _, _, age in parts if age is not None]
        return LaneStats(
            lane.name,
            sum(waiting for waiting, _, _ in parts),
            sum(active for _, active, _ in parts),
            max(ages, default=None),
        )

    async def _stream(self, lane: Lane, key: str) -> tuple[int, int, int | None]:
        length, groups = await asyncio.gather(
            self._wire.send("XLEN", key), self._wire.send("XINFO", "GROUPS", key),
            return_exceptions=True,
        )  # fmt: skip
        if isinstance(groups, BaseException) or isinstance(length, BaseException):
            return 0, 0, None
        group = _group_of(lane, groups)
        if group is None:
            return length, 0, None
        active = group[b"pending"]
        waiting = max(0, length - active)
        return waiting, active, await self._oldest(key, group) if waiting else None

    async def _oldest(self, key: str, group: dict[bytes, Any]) -> int | None:
        after = group[b"last-delivered-id"].decode()
        first = await self._wire.send("XRANGE", key, f"({after}", "+", "COUNT", 1)
        if not first:
            return None
        return max(0, await server_ms(self._wire) - int(first[0][0].split(b"-")[0]))


def _group_of(lane: Lane, groups: Sequence[Any]) -> dict[bytes, Any] | None:
    """Return the group through which jobs leave a lane; others' may read along."""
    own = lane.group.encode()
    return next((it for it in map(_pairs, groups) if it[b"name"] == own), None)


async def queue_names(wire: Wire, fleet: Fleet) -> list[str]:
    """Return the names of the queues that a producer or a worker has ever used, sorted."""
    return sorted(name.decode() for name in await wire.send("SMEMBERS", fleet.queues))


def facts_of(queue: str, job_id: str, answer: Sequence[Any]) -> Facts:
    """Return the facts in an answer of inspect.lua."""
    pointer, fields, consumer, delivered, result, letter, entry = answer
    run = place = due = None
    if pointer:
        generation, _, where, at = pointer.decode().split(" ")
        run, place = int(generation), where
        due = int(float(at)) if where in ("delayed", "debounced", "retrying") else None
    return Facts(
        id=job_id,
        run=run,
        place=place or "",
        due_ms=due,
        envelope=read_envelope(fields) if fields else None,
        consumer=consumer.decode(),
        delivered=delivered,
        end=end_of(result) if result else None,
        letter=letter_of(queue, entry.decode(), letter) if letter else None,
    )


def end_of(stored: bytes) -> End:
    """Return the end in a stored result: "<run> <state>[;<facts>] <value>".

    The facts of the run are a newer version's.
    """
    run, state, value = stored.split(b" ", 2)
    return End(int(run), state.partition(b";")[0].decode(), value)


def _archived_end(stored: bytes | None, letter: DeadLetter | None) -> End | None:
    """Return the end that was archived; None when the queue knows better.

    A worker archives it before it settles, and may have lost the job by then.
    """
    end = end_of(stored) if stored else None
    if end is not None and letter is not None and letter.run == end.run:
        return None
    return end


def value_of(end: End) -> Any:
    """Return the value that a completed run returned."""
    return from_json(end.value)


def _counted(flat: Sequence[bytes]) -> dict[bytes, int]:
    """Return counters by name; what somebody else wrote among them is passed over."""
    return {
        name: int(count)
        for name, count in zip(flat[::2], flat[1::2], strict=True)
        if _NUMBER.fullmatch(count)
    }


def _pairs(flat: Sequence[Any]) -> dict[bytes, Any]:
    return dict(zip(flat[::2], flat[1::2], strict=True))
