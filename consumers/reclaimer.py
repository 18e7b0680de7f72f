"""Take over the jobs of dead workers, and our own whose hand-out was lost on the way."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable

from redis.exceptions import ResponseError

from consumers.delivery import Delivery, Stream
from consumers.leases import Leases
from consumers.levels import Levels
from consumers.reader import Reader, delivery_of
from consumers.transitions import entries_of, reclaim

logger = logging.getLogger(__name__)

# Steps of 256 pending entries a stream and sweep: a stream with more is gone
# through over several sweeps.
_STEPS = 8


class Reclaimer:
    """Sweeps all streams that are read, twice a lease, on the reader's own connection.

    There no reply is under way during a sweep, so a delivery that is pending
    under our name and not known here was surely lost. on_missing is called when
    entries of dead workers were deleted by somebody: their jobs are to be looked for.
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
        self._next = time.monotonic() + lease / 2 * random.uniform(0.5, 1.0)
        taken: list[Delivery] = []
        for stream in await self._with_pending():
            taken += await self._sweep(stream, want - len(taken))
            if len(taken) >= want:
                # More may be waiting: go on as soon as there is room.
                self._next = time.monotonic()
                break
        return taken

    async def _with_pending(self) -> list[Stream]:
        streams = self._levels.streams()
        if not streams:
            return []
        group = self._reader.group
        replies = await self._reader.ask(*(("XPENDING", s.key, group) for s in streams))
        return [
            stream
            for stream, reply in zip(streams, replies, strict=True)
            # Comparing with what we hold would be wrong: a run that lost its lease
            # is still in our hands, and would stand for somebody's orphan.
            if isinstance(reply, list) and reply[0]
        ]

    async def _sweep(self, stream: Stream, want: int) -> list[Delivery]:
        lease_ms = round(self._leases.seconds[stream.lane.queue] * 1000)
        cursor, taken = self._cursors.get(stream.key, "-"), list[Delivery]()
        for _ in range(_STEPS):
            running = self._leases.stale(stream.key)
            asked = time.monotonic()
            step = reclaim(
                stream, self._reader.consumer, lease_ms, cursor, want - len(taken), running
            )
            try:
                reply = await self._reader.run(step)
            except ResponseError as error:
                logger.error("%s was not swept: %s", stream.key, error)
                break
            self._say_missing(stream, reply[1])
            taken += [
                delivery_of(stream, entry, count, fields, asked, cancelled=over)
                for entry, count, fields, over in entries_of(reply)
            ]
            cursor = reply[0].decode() or "-"
            if cursor == "-" or len(taken) >= want:
                break
        self._cursors[stream.key] = cursor
        return taken

    def _say_missing(self, stream: Stream, missing: int) -> None:
        if missing:
            logger.error(
                "%d jobs of %s were deleted by somebody else while they ran", missing, stream.key
            )
            self._on_missing()
