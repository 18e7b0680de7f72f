"""Ask Redis for the state of jobs and queues. Nothing here changes a job."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from redis.exceptions import NoPermissionError, ResponseError

from consumers.admin.facts import Facts, archived_end, facts_of
from consumers.admin.figures import LaneStats, QueueStats
from consumers.connections.clock import server_ms
from consumers.connections.wire import Wire
from consumers.jobs.lanes import Lane, listed_lanes
from consumers.store.asking import inspect
from consumers.store.entries import SOON_MS, added_ms, oldest_waiting_ms
from consumers.store.fleet import started_ms
from consumers.store.keys import Fleet, Keys
from consumers.store.pause_state import FIELDS, PauseState
from consumers.store.scripts import call

# What HINCRBY takes for a number.
_NUMBER = re.compile(rb"-?[0-9]{1,19}")


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
        return replace(facts, end=archived_end(result, facts.letter))

    async def started_ms(self, facts: Facts) -> int:
        """Return when a job that somebody has began, in ms since 1970; 0 where nobody knows.

        Of what was handed out within a second after it was added that is when it was handed
        out, to a second. Of the others it is what their worker last said: soon after the start,
        and of the 200 that it runs for the longest.
        """
        added = added_ms(facts.entry)
        if facts.held_since_ms <= added + SOON_MS:
            return max(added, facts.held_since_ms)
        fleet = Fleet(self._keys.namespace)
        told = await started_ms(self._wire, fleet, facts.consumer, self._keys.queue, facts.id)
        # What began before this entry was there is an earlier attempt, or an earlier run of the id.
        return told if told >= added else 0

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
        names, delayed, counters, cancelled, (dead_name, *meta) = await asyncio.gather(
            self._wire.send("ZRANGE", self._keys.lanes, 0, -1),
            self._wire.send("ZCARD", self._keys.delayed),
            self._wire.send("HGETALL", self._keys.stats),
            self._wire.send("SCARD", self._keys.cancelled),
            self._wire.send("HMGET", self._keys.meta, "dead", *FIELDS),
        )
        lanes = listed_lanes(self._keys.queue, names)
        lanes.sort(key=lambda lane: (lane.priority, lane.name), reverse=True)
        dead, *found = await asyncio.gather(
            self._wire.send("XLEN", self._keys.dead_named(dead_name)),
            *(self._lane(lane) for lane in lanes),
        )
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
            lanes=found,
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

    async def counts(self, lane: Lane) -> tuple[int, int]:
        """Return how many jobs of a lane wait, and how many a worker has; of its front as well."""
        parts = await asyncio.gather(*(self._counts(lane, key) for key in self._both(lane)))
        return sum(waiting for waiting, _, _ in parts), sum(active for _, active, _ in parts)

    async def _lane(self, lane: Lane) -> LaneStats:
        parts = await asyncio.gather(*(self._stream(lane, key) for key in self._both(lane)))
        ages = [age for _, _, age in parts if age is not None]
        return LaneStats(
            lane.name,
            sum(waiting for waiting, _, _ in parts),
            sum(active for _, active, _ in parts),
            max(ages, default=None),
        )

    def _both(self, lane: Lane) -> tuple[str, str]:
        return self._keys.front(lane), self._keys.lane(lane)

    async def _stream(self, lane: Lane, key: str) -> tuple[int, int, int | None]:
        waiting, active, last = await self._counts(lane, key)
        age = await self._oldest(key, last) if waiting and last is not None else None
        return waiting, active, age

    async def _counts(self, lane: Lane, key: str) -> tuple[int, int, str | None]:
        """Return how many wait in a stream, how many a worker has, and what was delivered last."""
        length, groups = await asyncio.gather(
            self._wire.send("XLEN", key), self._wire.send("XINFO", "GROUPS", key),
            return_exceptions=True,
        )  # fmt: skip
        for error in (length, groups):
            if isinstance(error, BaseException) and not _is_hidden(error):
                raise error
        if isinstance(groups, BaseException) or isinstance(length, BaseException):
            return 0, 0, None
        group = _group_of(lane, groups)
        if group is None:
            return length, 0, None
        active = group[b"pending"]
        return max(0, length - active), active, group[b"last-delivered-id"].decode()

    async def _oldest(self, key: str, last: str) -> int | None:
        added = await oldest_waiting_ms(self._wire, key, last)
        return None if added is None else max(0, await server_ms(self._wire) - added)


def _is_hidden(error: BaseException) -> bool:
    """Whether there is no stream, or somebody else's value in its place."""
    return isinstance(error, ResponseError) and not isinstance(error, NoPermissionError)


def _group_of(lane: Lane, groups: Sequence[Any]) -> dict[bytes, Any] | None:
    """Return the group through which jobs leave a lane; others' may read along."""
    own = lane.group.encode()
    return next((it for it in map(_pairs, groups) if it[b"name"] == own), None)


async def queue_names(wire: Wire, fleet: Fleet) -> list[str]:
    """Return the names of the queues that a producer or a worker has ever used, sorted."""
    return sorted(name.decode() for name in await wire.send("SMEMBERS", fleet.queues))


def _pairs(flat: Sequence[Any]) -> dict[bytes, Any]:
    return dict(zip(flat[::2], flat[1::2], strict=True))


def _counted(flat: Sequence[bytes]) -> dict[bytes, int]:
    """Return counters by name; what somebody else wrote among them is passed over."""
    return {
        name: int(count)
        for name, count in zip(flat[::2], flat[1::2], strict=True)
        if _NUMBER.fullmatch(count)
    }
