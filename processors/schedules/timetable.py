"""The schedules of one queue: register, read, change and fire them. Nobody else reads them."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Any, NamedTuple, TypeAlias

from redis.exceptions import ResponseError

from consumers.connections.clock import server_ms
from consumers.connections.wire import Wire
from consumers.cuts import cut, cut_in_flight
from consumers.store import scheduling
from consumers.store.keys import Keys
from consumers.store.refusals import is_foreign_value
from consumers.store.schedule_record import Record
from consumers.store.scripts import Call, call
from processors.schedules.schedule import Schedule

# How often a change is tried again because the schedule was changed or fired meanwhile.
_TRIES = 5

# A schedule's name with when it is to be looked at: once that is changed, it is another look.
Look: TypeAlias = tuple[bytes, bytes]


class Registered(NamedTuple):
    """A word of register_schedule.lua, and when the schedule fires next (ms)."""

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
        return await server_ms(self.wire)

    async def register(
        self, schedule: Schedule, *, source: str, confirm_only: bool = False
    ) -> Registered:
        """Put a definition in force, or only say that it is still in use.

        The next fire is after the last one, also when Redis' clock was set back since.
        """
        after = await self.now_ms()
        for _ in range(_TRIES):
            done = await self._register(schedule, after, source, confirm_only)
            if done.word != "past" or done.slot is None:
                break
            after = max(after, done.slot)
        return done

    async def _register(
        self, schedule: Schedule, after: int, source: str, confirm_only: bool
    ) -> Registered:
        step = scheduling.register(
            self.keys,
            schedule.name,
            digest=schedule.digest,
            version=schedule.version,
            definition=schedule.definition,
            slot=schedule.spec.next_after(after),
            source=source,
            confirm_only=confirm_only,
        )
        word, next_slot = await self._call(step)
        return Registered(word.decode(), int(next_slot) if next_slot else None)

    async def record(self, name: str) -> Record | None:
        """Return what is kept of a schedule; None when there is none of this name."""
        return Record.read(name, await self.wire.send("HGETALL", self.keys.schedule(name)))

    async def records(self) -> list[Record]:
        """Return all schedules of the queue, by name; also those that cannot be read."""
        names = await self.wire.send("SMEMBERS", self.keys.schedule_names)
        known = sorted(name.decode(errors="replace") for name in names)
        found = await asyncio.gather(*(self._listed(name) for name in known))
        return [record for record in found if record is not None]

    async def _listed(self, name: str) -> Record | None:
        try:
            return await self.record(name)
        except ResponseError as error:
            if not is_foreign_value(error):
                raise
            return Record.spoiled(
                name, f"{self.keys.schedule(name)} holds a value of the wrong type"
            )

    async def due(self, now_ms: int, most: int) -> list[Look]:
        """Return the first that are to be looked at by now."""
        flat = await self.wire.send(
            "ZRANGEBYSCORE", self.keys.schedules, "-inf", now_ms, "WITHSCORES", "LIMIT", 0, most
        )
        return list(zip(flat[::2], flat[1::2], strict=True))

    async def next(self, most: int) -> list[Look]:
        """Return the first that are to be looked at, whenever that is."""
        flat = await self.wire.send("ZRANGE", self.keys.schedules, 0, most - 1, "WITHSCORES")
        return list(zip(flat[::2], flat[1::2], strict=True))

    async def drop(self, look: Look) -> None:
        """Look no more at what somebody deleted."""
        await self.wire.send("ZREM", self.keys.schedules, look[0])

    async def began(self) -> bytes | None:
        """Return when the queue began; another time means that Redis has lost everything."""
        began: bytes | None = await self.wire.send("HGET", self.keys.meta, "began")
        return began

    async def count(self, names: Collection[str]) -> int:
        """Return how many of these schedules there are."""
        if not names:
            return 0
        found: int = await self.wire.send("EXISTS", *(self.keys.schedule(name) for name in names))
        return found

    def schedule_of(self, record: Record) -> Schedule:
        """Return the schedule of a record; ValueError when this version cannot read it."""
        if record.unreadable is not None:
            raise ValueError(record.unreadable)
        return Schedule.read(self.keys.queue, record.name, record.definition, record.version)

    async def pause(self, name: str, why: str = "paused") -> bool:
        """Fire no more until resumed; return whether there is such a schedule."""
        return await self._change(scheduling.pause(self.keys, name, why)) == "done"

    async def forget(self, record: Record) -> bool:
        """Pause what no worker registers any more; return whether nobody did so meanwhile."""
        step = scheduling.pause(
            self.keys,
            record.name,
            "unregistered",
            digest=record.digest,
            registered=record.registered,
        )
        return await self._change(step) == "done"

    async def resume(self, name: str) -> str:
        """Go on with the next fire time from now; those that passed meanwhile are left out.

        Returns done; unknown, there is no such schedule; other or past, it is replaced or
        fires whenever that is tried. ValueError when this version cannot read it.
        """
        word = "unknown"
        for _ in range(_TRIES):
            record = await self.record(name)
            if record is None:
                return "unknown"
            word = await self._resume(record)
            if word == "done":
                break
        return word

    async def _resume(self, record: Record) -> str:
        # Redis' clock may have been set back since its last fire.
        after = max(await self.now_ms(), record.fired or 0)
        slot = self.schedule_of(record).spec.next_after(after)
        step = scheduling.resume(self.keys, record.name, slot, digest=record.digest)
        return await self._change(step)

    async def remove(self, name: str) -> bool:
        """Forget a schedule; a handler's comes back where a worker with it runs: pause that."""
        return await self._change(scheduling.remove(self.keys, name)) == "done"

    async def fire(self, record: Record, schedule: Schedule, now_ms: int) -> tuple[str, int]:
        """Emit what is due; return a word of fire_schedule.lua and how many jobs were added."""
        assert record.slot is not None, "what has no next fire is not due"
        due = schedule.fires(record.slot, now_ms)
        step = scheduling.fire(
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

    async def _change(self, step: Call) -> str:
        word: bytes = await self._call(step)
        return word.decode()

    async def _call(self, step: Call) -> Any:
        return await call(self.wire, step)
