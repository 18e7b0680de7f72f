"""Tidy up: unused lanes, consumers of dead workers, old dead letters, jobs that nobody handles."""

from __future__ import annotations

import logging
import re
import time
from collections import defaultdict
from collections.abc import Callable, Sequence

from redis.exceptions import ResponseError

from consumers.connections.clock import server_ms
from consumers.connections.wire import Wire
from consumers.jobs.lanes import Lane, listed_lanes
from consumers.jobs.outcome import Buried, Cancelled, Outcome, Released
from consumers.lease.leases import Leases
from consumers.settle.settler import Settler
from consumers.store.delivery import Delivery, Stream, delivery_of
from consumers.store.entries import added_ms
from consumers.store.fleet import live_count, live_events
from consumers.store.keys import Fleet, Keys
from consumers.store.leasing import entries_of, reclaim
from consumers.store.pause_state import FIELDS, PauseState
from consumers.store.replaying import purge
from consumers.store.scripts import Call, call
from consumers.store.tending import forget, retire
from consumers.store.unfit import foreign
from consumers.upkeep.glance import Glance, glance_at, holds_abandoned, holds_old
from consumers.upkeep.service import Rounds
from consumers.upkeep.tour import LEAST, Tour, portion

logger = logging.getLogger("taskmanager.worker")

UNUSED_MS = 10 * 60 * 1000
# There may be many routes, each of which is in every read of its workers.
UNUSED_ROUTE_MS = 60 * 1000
# Old dead letters are looked for at most so often, by whichever worker comes first; where there
# are more than one step deletes, by whoever comes next.
LETTERS_MS = 20_000
# How many lanes are looked at in one write: neither Redis nor the event loop stops for longer.
_LANES_AT_ONCE = 32
# How many marks of cancelled entries are looked at in a round.
_SAMPLE = 100
# How many abandoned jobs of a lane that nobody handles are taken over in a round.
_MOST_ABANDONED = 100
# A stream without the prefix of lanes, and an entry.
_MARK = re.compile(rb"([!-~]+) ([0-9]+-[0-9]+)")


class Janitor(Rounds):
    """Every worker runs one. What it changes is one script or one command, so that any number may.

    Of many lanes each looks at a portion in a round, first with plain commands: scripts run
    where those find something.

    no_handler_deadline is how many seconds a job waits in the lane of its event
    for a worker that handles it; then it is buried, unless one lives.
    """

    def __init__(
        self,
        wire: Wire,
        settler: Settler,
        leases: Leases,
        *,
        fleet: Fleet,
        queues: Sequence[Keys],
        default_lanes: Callable[[Keys], Lane],
        consumer: str,
        no_handler_deadline: float,
        letters_max_age_ms: int = 30 * 24 * 3600 * 1000,
        unused_ms: int = UNUSED_MS,
    ) -> None:
        super().__init__(
            logger,
            queues,
            undone="cannot clean up queue %s: %s",
            failed="cleaning up queue %s failed",
        )
        self._wire = wire
        self._settler = settler
        self._leases = leases
        self._fleet = fleet
        self._default_lane = default_lanes
        self._consumer = consumer
        self._deadline = no_handler_deadline
        self._letters_max_age_ms = letters_max_age_ms
        self._unused_ms = unused_ms
        self._tours: defaultdict[str, Tour] = defaultdict(Tour)

    async def visit(self, keys: Keys) -> None:
        """Tidy a queue."""
        await self.tidy(keys)

    async def tidy(self, keys: Keys) -> None:
        """Do one round for one queue."""
        lanes = await self._next_lanes(keys)
        found: list[Glance] = []
        for at in range(0, len(lanes), _LANES_AT_ONCE):
            found += await self._tidy_lanes(keys, lanes[at : at + _LANES_AT_ONCE])
        # A burial trims as well, but a queue where nothing dies any more has none.
        age, every = self._letters_max_age_ms, LETTERS_MS
        await self._run(purge(keys, age, counter="dead_trimmed", every_ms=every))
        await self._unmark_missing(keys)
        # What requires more than a handler waits for whoever has it, however long that takes.
        unhandled = [it for it in found if it.stream.lane.event and not it.stream.lane.route]
        await self._bury_unhandled(keys, unhandled)

    async def _next_lanes(self, keys: Keys) -> list[Lane]:
        lanes = listed_lanes(keys.queue, await self._wire.send("ZRANGE", keys.lanes, 0, -1))
        if len(lanes) <= LEAST:
            return lanes
        return self._tours[keys.queue].next(lanes, await self._portion(len(lanes)))

    async def _portion(self, lanes: int) -> int:
        try:
            return portion(lanes, await live_count(self._wire, self._fleet))
        except ResponseError as error:
            # A foreign value in the place of the list of workers keeps nothing else from its turn.
            logger.debug("cannot count the workers: %s", error)
            return LEAST

    async def _tidy_lanes(self, keys: Keys, lanes: list[Lane]) -> list[Glance]:
        """Drop what is unused of some lanes; return what their streams looked like."""
        now = await server_ms(self._wire)
        streams = [it for lane in lanes for it in self._streams(keys, lane)]
        found = await glance_at(self._wire, streams)
        for glance in found:
            if glance is not None and glance.consumers:
                await self._run(forget(glance.stream, self._unused_ms))
        for lane, *both in zip(lanes, found[::2], found[1::2], strict=True):
            # Of one that is missing only the script can tell.
            most = min(self._unused_ms, UNUSED_ROUTE_MS) if lane.route else self._unused_ms
            unused = all(it is None or it.is_unused(now - most) for it in both)
            if unused and lane != self._default_lane(keys):
                await self._run(retire(keys, lane, most))
        return [it for it in found if it is not None]

    async def _unmark_missing(self, keys: Keys) -> None:
        """Drop the marks of cancelled entries that somebody deleted: nobody else ever would."""
        for marks in (keys.cancelled, keys.cancelling):
            try:
                sample = await self._wire.send("SRANDMEMBER", marks, _SAMPLE)
            except ResponseError as error:
                logger.debug("cannot read the cancel marks in %s: %s", marks, error)
                continue
            for mark in sample:
                if not await self._marks_something(keys, mark):
                    await self._wire.send("SREM", marks, mark)

    async def _marks_something(self, keys: Keys, mark: bytes) -> bool:
        parts = _MARK.fullmatch(mark)
        if parts is None or not _is_entry(parts[2]):
            return False
        stream, entry = keys.stream(parts[1].decode()), parts[2]
        try:
            return bool(await self._wire.send("XRANGE", stream, entry, entry))
        except ResponseError as error:
            # What cannot be looked at may be there: a foreign value may be taken away again.
            logger.debug("cannot read %s: %s", stream, error)
            return True

    def _streams(self, keys: Keys, lane: Lane) -> tuple[Stream, Stream]:
        return (
            Stream(keys, lane, lane.group, front=True),
            Stream(keys, lane, lane.group, front=False),
        )

    async def _run(self, step: Call) -> None:
        try:
            await call(self._wire, step)
        except ResponseError as error:
            # A lane that went away meanwhile, or a foreign value in its place.
            logger.debug("%s: %s", step.script.name, error)

    async def _bury_unhandled(self, keys: Keys, found: list[Glance]) -> None:
        overdue = [it.stream for it in found if await self._is_overdue(it)]
        if not overdue:
            return
        handled = await live_events(self._wire, self._fleet, keys.queue)
        state = PauseState.read(await self._wire.send("HMGET", keys.meta, *FIELDS))
        for stream in overdue:
            lane = stream.lane
            if (lane.group, lane.event) not in handled and not state.covers(lane.event):
                await self._take_abandoned(stream)
                await self._bury_old(stream)

    async def _is_overdue(self, glance: Glance) -> bool:
        """Whether a stream holds what a dead worker had, or what waits past the deadline."""
        if not glance.length and not glance.pending:
            return False
        lease_ms = round(self._leases.seconds[glance.stream.lane.queue] * 1000)
        return await holds_abandoned(self._wire, glance, lease_ms) or await self._holds_old(glance)

    async def _holds_old(self, glance: Glance) -> bool:
        before = await server_ms(self._wire) - self._deadline * 1000
        return await holds_old(self._wire, glance, before)

    async def _take_abandoned(self, stream: Stream) -> None:
        """Take over what a dead worker had: nobody else reads the lane, so nobody else would.

        What is past the deadline is buried, the rest waits in the lane again.
        """
        lease_ms = round(self._leases.seconds[stream.lane.queue] * 1000)
        running, asked = self._leases.stale(stream.key), time.monotonic()
        step = reclaim(stream, self._consumer, lease_ms, "-", _MOST_ABANDONED, running)
        try:
            reply = await call(self._wire, step)
        except ResponseError as error:
            logger.debug("cannot search %s: %s", stream.key, error)
            return
        since = await server_ms(self._wire) - self._deadline * 1000
        for entry, count, fields, over in entries_of(reply):
            delivery = delivery_of(stream, entry, count, fields, asked, cancelled=over)
            if over:
                self._settle(delivery, Cancelled("cancelled"))
            elif added_ms(entry) < since or delivery.envelope.version == 0:
                self._bury(delivery)
            else:
                self._settle(delivery, Released("no_handler", stream.lane.event))

    async def _bury_old(self, stream: Stream) -> None:
        """Bury what waited past the deadline: it is delivered to us first, like any job."""
        while (glance := await self._look_at(stream)) and await self._holds_old(glance):
            asked = time.monotonic()
            reply = await self._wire.send(
                "XREADGROUP", "GROUP", stream.group, self._consumer,
                "COUNT", 1, "STREAMS", stream.key, ">",
            )  # fmt: skip
            if not reply:
                return
            for entry, fields in reply[0][1]:
                self._bury(delivery_of(stream, entry.decode(), 1, fields, asked))

    async def _look_at(self, stream: Stream) -> Glance | None:
        (glance,) = await glance_at(self._wire, [stream])
        return glance

    def _bury(self, delivery: Delivery) -> None:
        if delivery.envelope.version == 0:
            self._settle(delivery, foreign(delivery))
            return
        event, hours = delivery.envelope.event, self._deadline / 3600
        logger.error(
            "job %s becomes a dead letter: no live worker handles event %s",
            delivery.envelope.id, event,
        )  # fmt: skip
        error = f"no live worker has handled event {event!r} for {hours:g} h"
        self._settle(delivery, Buried("no_handler", error))

    def _settle(self, delivery: Delivery, outcome: Outcome) -> None:
        # It is ours until that is recorded, and its lease is renewed.
        self._leases.all[delivery.key] = delivery
        self._settler.settle(delivery, outcome)


def _is_entry(text: bytes) -> bool:
    return all(len(half) <= 20 and int(half) < 2**64 for half in text.split(b"-"))
