"""Register, list and change schedules; all of them are in Redis."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from dataclasses import dataclass, field
from typing import TypeAlias

from redis.exceptions import ConnectionError, RedisError
from redis.exceptions import TimeoutError as RedisTimeout

from consumers.connections.backoff import pause_before
from consumers.emit.batches import Emitted
from consumers.errors import RedisUnavailable
from consumers.jobs.envelope import NewJob
from consumers.store.keys import Fleet
from consumers.store.schedule_record import Record
from consumers.store.scheduling import MAX_SCHEDULES
from processors.schedules.schedule import Schedule, fire_id
from processors.schedules.timetable import Timetable
from taskmanager.admin.jobs import Jobs
from taskmanager.admin.queues import Queues
from taskmanager.clients.answers import answering, changing, refusing
from taskmanager.clients.clients import Client, Clients
from taskmanager.errors import NoSuchSchedule, ScheduleRefused
from taskmanager.handles.handle import JobHandle
from taskmanager.handles.info import ScheduleInfo, schedule_info_of

logger = logging.getLogger("taskmanager.schedules")

# The class has a method of the name.
Infos: TypeAlias = list[ScheduleInfo]

_REFUSALS = {
    "older": "a definition of a higher version is in force; give a version that is as high",
    "full": f"the queue has its most of {MAX_SCHEDULES:,}; remove some",
    "other": "it is replaced again and again meanwhile; try it again",
    "past": "it fires again and again meanwhile; try it again",
}


class Schedules:
    """The schedules of one task manager's queues, on whatever event loop it is asked.

    Its methods raise RedisUnavailable when Redis does not answer.
    """

    def __init__(self, clients: Clients, jobs: Jobs, queues: Queues) -> None:
        self._clients = clients
        self._jobs = jobs
        self._queues = queues

    async def register(self, schedule: Schedule) -> Emitted:
        """Put a schedule in force; return the job of its next fire, with 0 as its run.

        Repeated for emit_timeout seconds while Redis is away: twice is as good as once.
        """
        client = self._clients.here()
        until = time.monotonic() + client.patience
        attempt = 0
        while True:
            try:
                return await self._register(client, schedule)
            except (ConnectionError, RedisTimeout) as error:
                attempt += 1
                pause = pause_before(attempt)
                if time.monotonic() + pause > until:
                    raise RedisUnavailable(client.where, str(error), outcome="unknown") from error
            await asyncio.sleep(pause)

    async def list(self, queue: str | None) -> Infos:
        """Return the schedules of a queue, or of all, by queue and name."""
        client = self._clients.here()
        queues = await self._queues.names() if queue is None else [queue]
        with answering(client.where):
            found = await asyncio.gather(*(_listed(client.timetable(name)) for name in queues))
        return [info for infos in found for info in infos]

    async def info(self, queue: str, name: str) -> ScheduleInfo | None:
        """Return what is known of a schedule; None when there is none."""
        client = self._clients.here()
        timetable = client.timetable(queue)
        with answering(client.where):
            record = await timetable.record(name)
            now_ms = await timetable.now_ms()
        return None if record is None else schedule_info_of(queue, record, now_ms)

    async def pause(self, queue: str, name: str) -> bool:
        """Fire no more until resumed; return whether there is such a schedule."""
        client = self._clients.here()
        with changing(client.where, client.keys(queue)):
            return await client.timetable(queue).pause(name)

    async def resume(self, queue: str, name: str) -> bool:
        """Go on with the next fire time; return whether there is such a schedule."""
        client = self._clients.here()
        timetable = client.timetable(queue)
        with changing(client.where, client.keys(queue)):
            try:
                word = await timetable.resume(name)
            except ValueError as error:
                raise _unreadable(queue, name, error) from None
        if word in _REFUSALS:
            raise ScheduleRefused(name, queue, _REFUSALS[word])
        return word == "done"

    async def remove(self, queue: str, name: str) -> bool:
        """Forget a schedule; return whether there was one."""
        client = self._clients.here()
        with changing(client.where, client.keys(queue)):
            return await client.timetable(queue).remove(name)

    async def run(self, queue: str, name: str) -> JobHandle:
        """Emit the job of a schedule now; raises NoSuchSchedule."""
        client = self._clients.here()
        timetable = client.timetable(queue)
        with answering(client.where):
            record = await timetable.record(name)
        if record is None:
            raise NoSuchSchedule(name, queue)
        job = _job_now(_readable(timetable, record))
        # Shielded: the job is on its way even if nobody waits for it any more.
        emitted = await asyncio.shield(client.producer.emit(job))
        return JobHandle(emitted.id, queue, emitted.created, emitted.run, jobs=self._jobs)

    async def _register(self, client: Client, schedule: Schedule) -> Emitted:
        queue = schedule.lane.queue
        timetable = client.timetable(queue)
        with refusing(client.where, client.keys(queue)):
            done = await timetable.register(schedule, source="emit")
        if done.word in _REFUSALS or done.slot is None:
            reason = _REFUSALS.get(done.word, "it has no fire time within 50 years")
            raise ScheduleRefused(schedule.name, queue, reason)
        await _list_queue(client, queue)
        return Emitted(fire_id(schedule.name, done.slot), done.word != "kept", 0)


@dataclass(frozen=True, slots=True)
class ScheduleHandle:
    """A schedule, to be asked for and changed by its name and queue.

    Its methods say False or None when there is none. schedules is what answers.
    """

    name: str
    queue: str
    schedules: Schedules = field(repr=False, compare=False, kw_only=True)

    async def info(self) -> ScheduleInfo | None:
        """Return what is known of it."""
        return await self.schedules.info(self.queue, self.name)

    async def pause(self) -> bool:
        """Let it fire no more until it is resumed; jobs that it has emitted go on."""
        return await self.schedules.pause(self.queue, self.name)

    async def resume(self) -> bool:
        """Go on with the next fire time from now; those that passed meanwhile are left out."""
        return await self.schedules.resume(self.queue, self.name)

    async def remove(self) -> bool:
        """Forget it. That of a handler comes back within a minute, where the handler runs."""
        return await self.schedules.remove(self.queue, self.name)

    async def run(self) -> JobHandle:
        """Emit its job now, also while it is paused; its fire times stay. Raises NoSuchSchedule."""
        return await self.schedules.run(self.queue, self.name)


async def _listed(timetable: Timetable) -> Infos:
    records, now_ms = await timetable.records(), await timetable.now_ms()
    queue = timetable.keys.queue
    for record in records:
        if record.unreadable is not None:
            logger.warning(
                "schedule %s of %s cannot be read, remove it: %s",
                record.name, queue, record.unreadable,
            )  # fmt: skip
    return [schedule_info_of(queue, record, now_ms) for record in records]


def _readable(timetable: Timetable, record: Record) -> Schedule:
    try:
        return timetable.schedule_of(record)
    except ValueError as error:
        raise _unreadable(timetable.keys.queue, record.name, error) from None


def _unreadable(queue: str, name: str, error: ValueError) -> ScheduleRefused:
    return ScheduleRefused(name, queue, f"this version cannot read it: {error}")


def _job_now(schedule: Schedule) -> NewJob:
    """Return a job beside those of the fire times: its id is none of theirs."""
    return schedule.job(0)._replace(id=f"cron:{schedule.name}:now-{secrets.token_hex(4)}")


async def _list_queue(client: Client, queue: str) -> None:
    """Have the queue listed, as an emit does; it is for listing only, so it may fail."""
    key = Fleet(client.producer.namespace).queues
    try:
        await client.producer.wire.send("SADD", key, queue)
    except RedisError as error:
        logger.debug("queue %s is not listed: %s", queue, error)
