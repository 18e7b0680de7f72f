"""The schedules of one queue: register, list, pause, resume, remove."""

from __future__ import annotations

import asyncio
from typing import Any, NamedTuple

from consumers import schedules
from consumers.faults import cut, cut_in_flight
from consumers.keys import Keys
from consumers.schedules import Record
from consumers.scripts import call
from consumers.transitions import Call
from consumers.wire import Wire
from processors.schedule import Schedule


class Registered(NamedTuple):
    """What registering came to: see schedule.lua for the word; slot is the next fire (ms)."""

    word: str
    slot: int | None


class Timetable:
    """Reads and changes what Redis keeps of a queue's schedules.

    Its methods raise redis' errors.
    """

    def __init__(self, wire: Wire, keys: Keys) -> None:
        self.wire = wire
        self.keys = keys

    async def now_ms(self) -> int:
        """Return Redis' clock, in ms since 1970."""
        seconds, micros = await self.wire.send("TIME")
        return int(seconds) * 1000 + int(micros) // 1000

    async def register(
        self, schedule: Schedule, *, source: str, confirm_only: bool = False
    ) -> Registered:
        """Put a definition in force, or only say that it is still in use."""
        slot = schedule.spec.next_after(await self.now_ms())
        step = schedules.register(
            self.keys,
            schedule.name,
            digest=schedule.digest,
            version=schedule.version,
            definition=schedule.definition,
            slot=slot,
            source=source,
            confirm_only=confirm_only,
        )
        word, next_slot = await self._call(step)
        return Registered(word.decode(), int(next_slot) if next_slot else None)

    async def record(self, name: str) -> Record | None:
        """Return what is kept of a schedule; None when there is none of this name."""
        return await schedules.record(self.wire, self.keys, name)

    async def records(self) -> list[Record]:
        """Return all schedules of the queue, by name."""
        names = await schedules.names(self.wire, self.keys)
        found = await asyncio.gather(*(self.record(name) for name in names))
        return [record for record in found if record is not None]

    def schedule_of(self, record: Record) -> Schedule:
        """Return the schedule of a record; ValueError when this version does not know it."""
        return Schedule.read(self.keys.queue, record.name, record.definition, record.version)

    async def pause(self, name: str, why: str = "paused") -> bool:
        """Fire no more until resumed; return whether there is such a schedule."""
        return bool(await self._call(schedules.pause(self.keys, name, why)))

    async def resume(self, name: str) -> bool:
        """Go on with the next fire time from now; those that passed meanwhile are left out."""
        while (record := await self.record(name)) is not None:
            slot = self.schedule_of(record).spec.next_after(await self.now_ms())
            step = schedules.resume(self.keys, name, slot, digest=record.digest)
            if await self._call(step):
                return True
        return False

    async def remove(self, name: str) -> bool:
        """Forget a schedule; a handler's comes back where a worker with it runs: pause that."""
        return bool(await self._call(schedules.remove(self.keys, name)))

    async def fire(self, record: Record, schedule: Schedule, now_ms: int) -> tuple[str, int]:
        """Emit what is due; return a word of fire.lua and how many jobs were added."""
        assert record.slot is not None, "what has no next fire is not due"
        due = schedule.fires(record.slot, now_ms)
        step = schedules.fire(
            self.keys,
            record,
            latest=due.latest,
            following=due.following,
            overlap=schedule.overlap,
            passed_over=due.passed_over,
            jobs=[schedule.job(fire_ms) for fire_ms in due.chosen],
        )
        cut("fire.before_send")
        cut_in_flight("fire.in_flight")
        word, added = await self._call(step)
        cut("fire.answered")
        return word.decode(), added

    async def _call(self, step: Call) -> Any:
        return await call(self.wire, step.script, step.keys, step.args)
