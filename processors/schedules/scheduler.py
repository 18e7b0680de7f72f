"""Fire what is due: every worker tries, one succeeds."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence

from redis.exceptions import RedisError, ResponseError

from consumers.chance import chance
from consumers.connections.not_now import is_for_now
from consumers.connections.trouble import Trouble
from consumers.connections.wire import Wire
from consumers.store import scheduling
from consumers.store.keys import Keys
from consumers.store.schedule_record import Record
from consumers.upkeep.service import Steps
from processors.schedules.schedule import Schedule
from processors.schedules.timetable import Look, Registered, Timetable

logger = logging.getLogger("taskmanager.schedules")

# A worker says this often that its definitions are in use.
CONFIRM = 60.0
# A definition that no worker has confirmed for so long (ms) is that of code that has gone.
FORGOTTEN_AFTER_MS = 7 * 24 * 3600 * 1000
# What this version cannot fire is left alone for so long, and until a schedule is changed.
_LEFT_ALONE = 30.0
_AT_A_TIME = 32


class Scheduler(Steps):
    """One queue's; every worker runs one, without a leader (G9).

    own are the schedules of handlers that are registered here. What is fired is what
    Redis keeps, whoever registered it: the compare-and-set of the fire makes it once.
    """

    def __init__(self, wire: Wire, keys: Keys, own: Sequence[Schedule] = ()) -> None:
        super().__init__(
            logger,
            Trouble(logger, f"the schedules of queue {keys.queue} are not firing"),
            failed=f"firing the schedules of queue {keys.queue} failed",
        )
        self._timetable = Timetable(wire, keys)
        self._keys = keys
        self._own = own
        self._registered: set[str] = set()
        # When (monotonic) each of ours is registered or confirmed next.
        self._confirm_at: dict[str, float] = {}
        # When the queue began; another time means that Redis has lost everything.
        self._began: bytes | None = None
        # When (monotonic) each of those that are due and could not be fired is tried again.
        self._passed_by: dict[Look, float] = {}
        # What was said already; a schedule in trouble is looked at again and again.
        self._said: set[tuple[str, str]] = set()

    def wake(self) -> None:
        """A schedule was changed."""
        self._passed_by = dict.fromkeys(self._passed_by, 0.0)
        super().wake()

    async def step(self) -> float:
        """Fire what is due; return the seconds until the next is, at most interval."""
        self._alarm.reset()
        await self._register_own()
        now = await self._timetable.now_ms()
        for look in await self._due(now):
            await self._try(look, now)
        return await self._until_next()

    def _refused(self, error: RedisError) -> float:
        return super()._refused(error) / 2

    async def _due(self, now: int) -> list[Look]:
        """Return what to look at now; what is in trouble comes behind what is not."""
        due = await self._timetable.due(now, _AT_A_TIME + len(self._passed_by))
        fresh = [look for look in due if look not in self._passed_by]
        now_here = time.monotonic()
        again = [look for look in due if self._passed_by.get(look, now_here + 1) <= now_here]
        return fresh[:_AT_A_TIME] + again[:_AT_A_TIME]

    async def _until_next(self) -> float:
        """Return the seconds until the first that is not in trouble, or one is tried again."""
        looks = await self._timetable.next(1 + len(self._passed_by))
        # Another worker fired the rest, or somebody changed it.
        self._passed_by = {it: self._passed_by[it] for it in looks if it in self._passed_by}
        now_here = time.monotonic()
        # What needs a person is no reason to hurry.
        waits = [
            self.interval,
            *(max(at - now_here, self.interval / 4) for at in self._passed_by.values()),
        ]
        head = next((look for look in looks if look not in self._passed_by), None)
        if head is not None:
            waits.append((float(head[1]) - await self._timetable.now_ms() + 1) / 1000)
        return max(min(waits), 0.0)

    # What is registered here

    async def _register_own(self) -> None:
        """Register what is ours; again after Redis has lost it.

        What is refused keeps neither another one nor the firing.
        """
        if self._own:
            await self._notice_losses()
        for schedule in self._own:
            if time.monotonic() >= self._confirm_at.get(schedule.name, 0.0):
                await self._register(schedule)

    async def _notice_losses(self) -> None:
        """Register all anew when Redis lost everything; when one is gone, only confirm."""
        try:
            began = await self._timetable.began()
            left = await self._timetable.count(self._registered)
        except ResponseError as error:
            if is_for_now(error):
                raise
            return  # registering will say what it is
        if self._began is not None and began != self._began:
            self._registered.clear()
            self._confirm_at.clear()
        self._began = began
        if left < len(self._registered):
            self._confirm_at.clear()

    async def _register(self, schedule: Schedule) -> None:
        self._confirm_at[schedule.name] = time.monotonic() + self.interval
        try:
            done = await self._confirm(schedule)
        except ResponseError as error:
            if is_for_now(error):
                raise
            self._say(schedule.name, f"cannot be registered: {error}")
            return
        if done.word == "past":
            self._say(schedule.name, "is not registered: it kept firing at the same time")
            return
        if done.word != "full":
            self._registered.add(schedule.name)
        self._confirm_at[schedule.name] = time.monotonic() + CONFIRM * chance.uniform(0.75, 1.25)

    async def _confirm(self, schedule: Schedule) -> Registered:
        """Say that it is in use, or register it; an older one never replaces another here."""
        if schedule.name in self._registered:
            done = await self._timetable.register(schedule, source="handler", confirm_only=True)
            if done.word != "unknown":
                return done
            self._registered.discard(schedule.name)
        done = await self._timetable.register(schedule, source="handler")
        self._tell(schedule, done.word)
        return done

    def _tell(self, schedule: Schedule, word: str) -> None:
        if word in ("created", "replaced"):
            logger.info("schedule %s of queue %s was %s", schedule.name, self._keys.queue, word)
        elif word == "full":
            limit = f"{scheduling.MAX_SCHEDULES:,}"
            self._say(schedule.name, f"is not registered: its queue has {limit} schedules already")
        elif word == "older":
            self._say(schedule.name, "has a definition with a higher version; this one is ignored")

    # What is due

    async def _try(self, look: Look, now: int) -> None:
        """Look at a schedule; what is wrong with it must not keep the others."""
        name = look[0].decode(errors="replace")
        try:
            done, pause = await self._look_at(name, look, now), self.interval / 4
        except ResponseError as error:
            if is_for_now(error):
                raise
            self._say(name, f"cannot fire: {error}")
            done, pause = False, self.interval
        except (RedisError, OSError):
            raise
        except Exception as error:
            self._say(name, f"cannot be fired by this version: {error}")
            done, pause = False, _LEFT_ALONE
        self._passed_by.pop(look, None)
        if not done:
            at = time.monotonic() + pause * chance.uniform(0.75, 1.25)
            # Changed while it was looked at: what was read may be of before that.
            self._passed_by[look] = 0.0 if self._alarm.has_rung else at

    async def _look_at(self, name: str, look: Look, now: int) -> bool:
        """Return whether that look is dealt with; ValueError when it cannot be read."""
        record = await self._timetable.record(name)
        if record is None:
            # Somebody deleted it.
            await self._timetable.drop(look)
            self._said = {said for said in self._said if said[0] != name}
            return True
        if record.unreadable is not None:
            raise ValueError(record.unreadable)
        if record.slot is None or record.slot > now or record.paused is not None:
            return False
        if record.source == "handler" and now - record.registered > FORGOTTEN_AFTER_MS:
            return await self._forget(record)
        return await self._fire(record, self._timetable.schedule_of(record), now)

    async def _forget(self, record: Record) -> bool:
        if not await self._timetable.forget(record):
            return False
        logger.error(
            "schedule %s of queue %s was paused: no worker has registered it for 7 days",
            record.name, self._keys.queue,
        )  # fmt: skip
        return True

    async def _fire(self, record: Record, schedule: Schedule, now: int) -> bool:
        word, added = await self._timetable.fire(record, schedule, now)
        if word == "fired":
            logger.debug("schedule %s fired %d jobs", record.name, added)
            self._said = {said for said in self._said if said[0] != record.name}
        elif word == "L":
            self._say(record.name, "cannot fire: its queue has no free lane")
        elif word[0] == "T":
            self._say(record.name, f"cannot fire: {word[1:]} holds a value of the wrong type")
        return word == "fired"

    def _say(self, name: str, trouble: str) -> None:
        if (name, trouble) not in self._said:
            self._said.add((name, trouble))
            logger.error("schedule %s of queue %s %s", name, self._keys.queue, trouble)
