"""Fire what is due: every worker tries, one succeeds."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Sequence

from redis.exceptions import RedisError, ResponseError

from consumers import schedules
from consumers.keys import Keys
from consumers.schedules import Record
from consumers.scripts import call
from consumers.wire import Wire
from processors.schedule import Schedule
from processors.timetable import Timetable

logger = logging.getLogger(__name__)

# The next fire is asked for again this often, however many hints were lost.
LOOK = 2.0
# A worker says this often that its definitions are in use.
CONFIRM = 60.0
# A definition that no worker has confirmed for so long (ms) is that of code that has gone.
FORGOTTEN_AFTER_MS = 7 * 24 * 3600 * 1000
_AT_A_TIME = 32


class Scheduler:
    """One queue's; every worker runs one, without a leader (G9).

    own are the schedules of handlers that are registered here. What is fired is what
    Redis keeps, whoever registered it: the compare-and-set of the fire makes it once.
    """

    def __init__(self, wire: Wire, keys: Keys, own: Sequence[Schedule] = ()) -> None:
        self._timetable = Timetable(wire, keys)
        self._wire = wire
        self._keys = keys
        self._own = own
        self._woken = asyncio.Event()
        self._registered = False
        self._confirm_at = 0.0
        # What was said already; a schedule in trouble is looked at every other second.
        self._said: set[tuple[str, str]] = set()

    def wake(self) -> None:
        """A schedule was changed."""
        self._woken.set()

    async def run(self) -> None:
        """Fire until cancelled; an error delays the next step, it never ends the loop."""
        while True:
            try:
                wait = await self.step()
            except RedisError as error:
                logger.warning("schedules of %s wait: %s", self._keys.queue, error)
                wait = LOOK / 2
            except Exception:
                logger.exception("the scheduler of %s failed", self._keys.queue)
                wait = LOOK
            await self._sleep(wait)

    async def step(self) -> float:
        """Fire what is due; return the seconds until the next is, at most LOOK."""
        self._woken.clear()
        await self._keep_registered()
        now = await self._timetable.now_ms()
        due = await self._wire.send(
            "ZRANGEBYSCORE", self._keys.schedules, "-inf", now, "LIMIT", 0, _AT_A_TIME
        )
        for name in due:
            await self._try(name.decode(errors="replace"), now)
        head = await self._wire.send("ZRANGE", self._keys.schedules, 0, 0, "WITHSCORES")
        if not head:
            return LOOK
        wait = (int(float(head[1])) - await self._timetable.now_ms() + 1) / 1000
        # What was due and still is needs a person: looking at it without end helps nobody.
        return LOOK / 4 if wait <= 0 and head[0] in due else min(LOOK, max(wait, 0.0))

    async def _keep_registered(self) -> None:
        """Register what is ours; again after Redis has lost it."""
        if not self._own:
            return
        if self._registered and not await self._wire.send(
            "EXISTS", self._keys.schedule(self._own[0].name)
        ):
            self._registered = False
        if self._registered and time.monotonic() < self._confirm_at:
            return
        for schedule in self._own:
            await self._register(schedule, confirm_only=self._registered)
        self._registered = True
        self._confirm_at = time.monotonic() + CONFIRM * random.uniform(0.75, 1.25)

    async def _register(self, schedule: Schedule, *, confirm_only: bool) -> None:
        done = await self._timetable.register(schedule, source="handler", confirm_only=confirm_only)
        # Redis has lost it; or it fired while its next time was computed.
        if done.word == "unknown" or (done.word == "other" and not confirm_only):
            done = await self._timetable.register(schedule, source="handler")
        if done.word in ("created", "replaced"):
            logger.info("schedule %s of %s: %s", schedule.name, self._keys.queue, done.word)
        elif done.word == "full":
            self._say(schedule.name, f"is not registered, {schedules.MAX_SCHEDULES} others are")
        elif done.word == "older":
            self._say(schedule.name, "has a definition of a higher version, ours does not count")

    async def _try(self, name: str, now: int) -> None:
        """Look at a schedule; what is wrong with it must not keep the others."""
        try:
            await self._look_at(name, now)
        except ResponseError as error:
            self._say(name, f"cannot fire: {error}")

    async def _look_at(self, name: str, now: int) -> None:
        record = await self._timetable.record(name)
        if record is None:
            # Somebody deleted it.
            await self._wire.send("ZREM", self._keys.schedules, name)
        elif record.slot is None or record.slot > now or record.paused is not None:
            return
        elif record.source == "handler" and now - record.registered > FORGOTTEN_AFTER_MS:
            await self._forget(record)
        else:
            await self._fire(record, now)

    async def _forget(self, record: Record) -> None:
        step = schedules.pause(self._keys, record.name, "unregistered", digest=record.digest)
        await call(self._wire, step.script, step.keys, step.args)
        logger.error(
            "schedule %s of %s is paused: no worker has registered it for 7 days",
            record.name, self._keys.queue,
        )  # fmt: skip

    async def _fire(self, record: Record, now: int) -> None:
        try:
            schedule = self._timetable.schedule_of(record)
        except ValueError as error:
            self._say(record.name, f"cannot be fired by this version: {error}")
            return
        word, added = await self._timetable.fire(record, schedule, now)
        if word == "fired":
            logger.debug("schedule %s fired %d jobs", record.name, added)
            self._said = {said for said in self._said if said[0] != record.name}
        elif word == "L":
            self._say(record.name, "cannot fire: its queue has no lane left")
        elif word[0] == "T":
            self._say(record.name, f"cannot fire: a foreign value is in {word[1:]}")

    def _say(self, name: str, trouble: str) -> None:
        if (name, trouble) not in self._said:
            self._said.add((name, trouble))
            logger.error("schedule %s of %s %s", name, self._keys.queue, trouble)

    async def _sleep(self, seconds: float) -> None:
        timer = asyncio.get_running_loop().call_later(seconds, self._woken.set)
        try:
            await self._woken.wait()
        finally:
            timer.cancel()
