"""Register, list and change schedules. All of them are in Redis."""

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

# Named here, because the class has a method called list.
Infos: TypeAlias = list[ScheduleInfo]

_REFUSALS = {
    "older": "a definition with a higher version is in force; give at least that version",
    "full": f"the queue already has {MAX_SCHEDULES:,} schedules, its limit; remove some",
    "other": "other processes keep replacing it at the same time; try again",
    "past": "it keeps firing at the same time; try again",
}


class Schedules:
    """The schedules of one task manager's queues, on any event loop.

    Its methods raise RedisUnavailable if Redis does not answer.
    """

    def __init__(self, clients: Clients, jobs: Jobs, queues: Queues) -> None:
        self._clients = clients
        self._jobs = jobs
        self._queues = queues

    async def register(self, schedule: Schedule) -> Emitted:
        """Put a schedule in force and return the job of its next fire time, with 0 as its run.

        While Redis is away, it tries again for `emit_timeout` seconds; registering twice is
        harmless.
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
                    raise RedisUnavailable(
                        client.where, str(error), outcome="unknown", request="change"
                    ) from error
            await asyncio.sleep(pause)

    async def list(self, queue: str | None) -> Infos:
        """Return the schedules of a queue, or of all queues, by queue and name."""
        client = self._clients.here()
        queues = await self._queues.names() if queue is None else [queue]
        with answering(client.where):
            found = await asyncio.gather(*(_listed(client.timetable(name)) for name in queues))
        return [info for infos in found for info in infos]

    async def info(self, queue: str, name: str) -> ScheduleInfo | None:
        """Return what is known about a schedule, or None."""
        client = self._clients.here()
        timetable = client.timetable(queue)
        with answering(client.where):
            record = await timetable.record(name)
            now_ms = await timetable.now_ms()
        return None if record is None else schedule_info_of(queue, record, now_ms)

    async def pause(self, queue: str, name: str) -> bool:
        """Stop a schedule until it is resumed; return whether it exists."""
        client = self._clients.here()
        with changing(client.where, client.keys(queue)):
            return await client.timetable(queue).pause(name)

    async def resume(self, queue: str, name: str) -> bool:
        """Resume a schedule with its next fire time; return whether it exists."""
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
        """Delete a schedule; return whether it existed."""
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
        # Shielded: the job is on its way even if the caller stops waiting.
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
    """Refers to one schedule: read it, pause it, resume it, remove it, or run its job now.

    `tm.schedule(name, queue)` returns one, whether or not there is such a schedule.

    - `name`, `queue`: which schedule it is.
    - `schedules`: answers the methods; for internal use.

    Every method raises RedisUnavailable if Redis does not answer.
    """

    name: str
    queue: str
    schedules: Schedules = field(repr=False, compare=False, kw_only=True)

    async def info(self) -> ScheduleInfo | None:
        """Return what is known about the schedule, or None if there is none."""
        return await self.schedules.info(self.queue, self.name)

    async def pause(self) -> bool:
        """Stop the schedule from firing until it is resumed. Jobs it has emitted continue.

        Returns whether there is such a schedule. A pause survives restarts and deploys.
        """
        return await self.schedules.pause(self.queue, self.name)

    async def resume(self) -> bool:
        """Resume the schedule with the next fire time from now; earlier ones are left out.

        Returns whether there is such a schedule. Raises ScheduleRefused if this version cannot read
        it, or if it could not be resumed.
        """
        return await self.schedules.resume(self.queue, self.name)

    async def remove(self) -> bool:
        """Delete the schedule, and return whether it existed.

        A handler's schedule comes back within a minute while workers with the handler run. To stop
        it, pause it.
        """
        return await self.schedules.remove(self.queue, self.name)

    async def run(self) -> JobHandle:
        """Emit the schedule's job now, even if it is paused. Its fire times do not change.

        Returns the handle of the job. Raises NoSuchSchedule if there is no such schedule, and
        ScheduleRefused if this version cannot read it.
        """
        return await self.schedules.run(self.queue, self.name)


async def _listed(timetable: Timetable) -> Infos:
    records, now_ms = await timetable.records(), await timetable.now_ms()
    queue = timetable.keys.queue
    for record in records:
        if record.unreadable is not None:
            logger.warning(
                "schedule %s of queue %s cannot be read; remove it: %s",
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
    """Return a job besides the jobs of the fire times, with its own id."""
    return schedule.job(0)._replace(id=f"cron:{schedule.name}:now-{secrets.token_hex(4)}")


async def _list_queue(client: Client, queue: str) -> None:
    """Add the queue to the list of queues, as an emit does. Failing is harmless."""
    key = Fleet(client.producer.namespace).queues
    try:
        await client.producer.wire.send("SADD", key, queue)
    except RedisError as error:
        logger.debug("queue %s is not listed: %s", queue, error)
