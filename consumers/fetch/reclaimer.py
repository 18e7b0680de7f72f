"""Take over the jobs of dead workers, and our own whose hand-out was lost on the way."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from redis.exceptions import ResponseError

from consumers.chance import chance
from consumers.fetch.levels import Levels
from consumers.fetch.reader import Reader
from consumers.lease.leases import Leases
from consumers.store.delivery import Delivery, Stream, delivery_of
from consumers.store.leasing import RECLAIM_PAGE, entries_of, reclaim

logger = logging.getLogger("taskmanager.worker")

# A stream with more pending entries than these pages is gone through over several sweeps, but
# for what silent consumers have.
_STEPS = 8


class Reclaimer:
    """Sweeps all streams that are read, twice a lease, on the reader's own connection.

    There no reply is under way during a sweep, so a delivery that is pending
    under our name and not known here was surely lost. on_missing is called when
    entries of dead workers were deleted by somebody: their jobs are to be looked for.

    A stream with many pending entries is looked through in parts. So that the jobs of a dead
    worker do not wait for that behind those of the living, its consumers that were silent for a
    lease are looked at first, and our own.
    """

    def __init__(
        self, reader: Reader, levels: Levels, leases: Leases, *, on_missing: Callable[[], None]
    ) -> None:
        self._reader = reader
        self._levels = levels
        self._leases = leases
        self._on_missing = on_missing
        self._cursors: dict[str, str] = {}
        self._next = 0.0

    @property
    def due_in(self) -> float:
        """Seconds until the next sweep."""
        return max(0.0, self._next - time.monotonic())

    @property
    def is_due(self) -> bool:
        """Whether a sweep is due."""
        return self.due_in == 0.0

    async def sweep(self, want: int) -> list[Delivery]:
        """Return at most ``want`` deliveries taken over from expired leases."""
        if want <= 0:
            return []
        # Without jitter every worker of one deploy would sweep at the same moment.
        lease = min(self._leases.seconds.values(), default=30.0)
        self._next = time.monotonic() + lease / 2 * chance.uniform(0.5, 1.0)
        taken: list[Delivery] = []
        for stream, pending in await self._with_pending():
            if pending > _STEPS * RECLAIM_PAGE:
                taken += await self._sweep_silent(stream, want - len(taken))
            if len(taken) < want:
                taken += await self._sweep(stream, want - len(taken))
            if len(taken) >= want:
                # More may be waiting: go on as soon as there is room.
                self._next = time.monotonic()
                break
        return taken

    async def _with_pending(self) -> list[tuple[Stream, int]]:
        """Return the streams with deliveries, and how many each has."""
        streams = self._levels.streams()
        if not streams:
            return []
        group = self._reader.group
        replies = await self._reader.ask(*(("XPENDING", s.key, group) for s in streams))
        return [
            (stream, reply[0])
            for stream, reply in zip(streams, replies, strict=True)
            # Comparing with what we hold would be wrong: a run that lost its lease
            # is still in our hands, and would stand for somebody's orphan.
            if isinstance(reply, list) and reply[0]
        ]

    async def _sweep_silent(self, stream: Stream, want: int) -> list[Delivery]:
        """Take over from the consumers that are silent, and what we have and know nothing of."""
        taken: list[Delivery] = []
        consumers: list[str | bytes] = [self._reader.consumer, *await self._silent(stream)]
        for consumer in consumers:
            cursor = "-"
            while cursor and len(taken) < want:
                cursor, found = await self._step(stream, cursor, want - len(taken), whose=consumer)
                taken += found
        return taken

    async def _silent(self, stream: Stream) -> list[bytes]:
        """Return the consumers with deliveries that did nothing for the length of a lease."""
        (rows,) = await self._reader.ask(("XINFO", "CONSUMERS", stream.key, self._reader.group))
        if isinstance(rows, ResponseError):
            return []
        consumers = [dict(zip(row[::2], row[1::2], strict=True)) for row in rows]
        return [
            it[b"name"]
            for it in consumers
            if it[b"pending"] and it[b"idle"] >= self._lease_ms(stream)
        ]

    async def _sweep(self, stream: Stream, want: int) -> list[Delivery]:
        cursor, taken = self._cursors.get(stream.key, "-"), list[Delivery]()
        for _ in range(_STEPS):
            cursor, found = await self._step(stream, cursor, want - len(taken))
            taken += found
            if not cursor or len(taken) >= want:
                break
        self._cursors[stream.key] = cursor or "-"
        return taken

    async def _step(
        self, stream: Stream, cursor: str, want: int, *, whose: str | bytes = ""
    ) -> tuple[str, list[Delivery]]:
        """Take over what a page brings; return where to go on, empty after the last one."""
        running = self._leases.stale(stream.key)
        asked = time.monotonic()
        step = reclaim(
            stream, self._reader.consumer, self._lease_ms(stream), cursor, want, running,
            whose=whose,
        )  # fmt: skip
        try:
            reply = await self._reader.run(step)
        except ResponseError as error:
            logger.error("cannot take over jobs of dead workers in %s: %s", stream.key, error)
            return "", []
        self._say_missing(stream, reply[1])
        return reply[0].decode(), [
            delivery_of(stream, entry, count, fields, asked, cancelled=over)
            for entry, count, fields, over in entries_of(reply)
        ]

    def _lease_ms(self, stream: Stream) -> int:
        return round(self._leases.seconds[stream.lane.queue] * 1000)

    def _say_missing(self, stream: Stream, missing: int) -> None:
        if missing:
            logger.error("another program deleted %d running jobs of %s", missing, stream.key)
            self._on_missing()
