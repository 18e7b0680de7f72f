"""Send children that were committed for other queues on to them, in order and once."""

from __future__ import annotations

import logging
import re
import secrets
import time
from collections.abc import Sequence
from itertools import takewhile
from typing import NamedTuple

from redis.exceptions import RedisError

from consumers.connections.link import Argument
from consumers.connections.trouble import Trouble
from consumers.connections.wire import Wire
from consumers.cuts import cut, cut_in_flight
from consumers.errors import InvalidName
from consumers.jobs.bounds import DeadLetterBounds
from consumers.jobs.clauses import is_known
from consumers.jobs.envelope import foreign_envelope
from consumers.jobs.lanes import listed_lanes
from consumers.jobs.names import check_job_id, check_name
from consumers.store.entries import order_of
from consumers.store.keys import Fleet, Keys, bucket
from consumers.store.relaying import Outbox, quarantine, relay
from consumers.store.scripts import call
from consumers.store.steps import BATCH_BYTES
from consumers.upkeep.service import Steps

logger = logging.getLogger("taskmanager.worker")

# Of jobs as large as may be, so many are about as much as a script takes.
_FEW = 4
BATCH = 100
_LOCK_MS = 5_000
# How long (s) a job is left to workers of the newer version that knows what it asks, by each that
# does not: a rolling deploy.
NEWER_DEADLINE = 3600.0
_NO_NEWER = "they need a newer version, and no worker of that version took them"
_FIELDS = {b"queue", b"lane", b"id", b"event", b"data", b"options", b"due", b"guard", b"epoch"}
# Lua knows the digits of ASCII only.
_DUE = re.compile(r"(\+?\d{1,14})?", re.ASCII)
_EPOCH = re.compile(r"[\d.]{1,40}", re.ASCII)
_PATTERNS = (
    (b"due", _DUE, "due time"),
    (b"epoch", _EPOCH, "epoch of an outbox"),
)

_Page = list[tuple[bytes, list[bytes]]]


class _Posted(NamedTuple):
    """An entry of the outbox: the queue it goes to, and the arguments with which it is sent on."""

    entry: bytes
    queue: str
    epoch: bytes
    arguments: list[Argument]
    size: int
    # Whether this version knows all that is asked before the job is added.
    known: bool


class Relay(Steps):
    """One queue's outbox; every worker of the queue runs one.

    The lock only saves work. What makes it once is the target: it keeps the
    last entry it took from this outbox and skips what is not newer. A queue
    that takes nothing holds up its own children only.
    """

    def __init__(
        self,
        wire: Wire,
        keys: Keys,
        *,
        bounds: DeadLetterBounds = DeadLetterBounds(),  # noqa: B008 - it is frozen
        batch: int = BATCH,
    ) -> None:
        super().__init__(
            logger,
            Trouble(logger, f"cannot deliver the outbox of queue {keys.queue}"),
            failed=f"delivering the outbox of queue {keys.queue} failed",
        )
        self._wire = wire
        self._keys = keys
        self._bounds = bounds
        self._batch = batch
        self._token = secrets.token_hex(16)
        # As many entries as are about as much as a script takes, by the size of the last page.
        self._count = min(batch, _FEW)
        # Queues that took nothing when they were last asked, which is said once, and the entry up
        # to which the outbox holds nothing for others.
        self._blocked: set[str] = set()
        self._passed: bytes | None = None
        # By queue, the entry that waits for a newer version, and since when (s) we see it.
        self._heads: dict[str, tuple[bytes, float]] = {}

    async def step(self) -> None:
        """Relay all that the outbox holds now, except for queues that take nothing."""
        if not await self._wire.send("XLEN", self._keys.outbox) or not await self._lock():
            return
        try:
            await self._relay()
        finally:
            await self._unlock()

    async def _relay(self) -> None:
        blocked: set[str] = set()
        after, last = "-", None
        while page := await self._page(after):
            last = page[-1][0]
            for posted in _batches(await self._read_all(page)):
                queue = posted[0].queue
                if queue not in blocked and not await self._deliver(queue, posted):
                    blocked.add(queue)
            last = self._skip(last, blocked)
            after = "(" + last.decode()
        self._blocked, self._passed = blocked, last

    def _skip(self, last: bytes, blocked: set[str]) -> bytes:
        """Return where to go on: what was read before was for queues that still take nothing."""
        if self._passed is None or not self._blocked <= blocked:
            return last
        passed, self._passed = self._passed, None
        return max(last, passed, key=lambda entry: order_of(entry.decode()))

    async def _page(self, after: str) -> _Page:
        page: _Page = await self._wire.send(
            "XRANGE", self._keys.outbox, after, "+", "COUNT", self._count
        )
        if page:
            mean = sum(len(it) for _, fields in page for it in fields) // len(page)
            fitting = BATCH_BYTES // max(1, mean)
            # The next ones may be larger: grow by and by.
            self._count = max(1, min(self._batch, fitting, 2 * self._count))
        return page

    async def _read_all(self, page: _Page) -> list[_Posted]:
        """Return a page's jobs; what is none goes to the dead letters."""
        found = []
        for entry, fields in page:
            try:
                found.append(_read(entry, fields))
            except (InvalidName, ValueError) as error:
                await self._quarantine(entry, fields, str(error))
        return found

    async def _deliver(self, queue: str, posted: list[_Posted]) -> bool:
        """Send jobs on to their queue; return whether it took all of them.

        One that asks what only a newer version knows waits for a worker that does, and those
        behind it wait with it: they go on in order.
        """
        known = list(takewhile(lambda it: it.known, posted))
        if known and not await self._hand_on(queue, known):
            return False
        if len(known) < len(posted):
            await self._wait_for_newer(queue, posted[len(known)])
        return len(known) == len(posted)

    async def _wait_for_newer(self, queue: str, head: _Posted) -> None:
        """Leave a job where it is; bury it when it has kept those behind it waiting for long.

        Otherwise a foreign value, or the job of a version that was rolled back, would block those
        behind it for ever. The time counts from when this worker first saw the job: a worker that
        starts after a night off cannot know which versions ran meanwhile.
        """
        entry, since = self._heads.get(queue, (b"", 0.0))
        if entry != head.entry:
            self._heads[queue] = (head.entry, time.monotonic())
        elif time.monotonic() - since > NEWER_DEADLINE:
            # Should the queue not take it, it waits as long once more.
            del self._heads[queue]
            await self._hand_on(queue, [head], overdue=True)
            return
        self._say_blocked(queue, "they need a newer version")

    async def _hand_on(self, queue: str, posted: list[_Posted], *, overdue: bool = False) -> bool:
        try:
            dealt = await self._send(Keys(queue, self._keys.namespace), posted, overdue=overdue)
        except RedisError as error:
            # While it takes nothing, no newer worker could make it take more.
            self._heads.pop(queue, None)
            self._say_blocked(queue, str(error))
            return False
        if dealt:
            cut("relay.before_delete")
            await self._wire.send("XDEL", self._keys.outbox, *(it.entry for it in posted[:dealt]))
            cut("relay.after_delete")
        if dealt < len(posted):
            self._say_blocked(queue, "a key of that queue holds a value of the wrong type")
        return dealt == len(posted)

    def _say_blocked(self, queue: str, why: str) -> None:
        level = logging.DEBUG if queue in self._blocked else logging.ERROR
        logger.log(level, "follow-up jobs for queue %s are waiting: %s", queue, why)

    async def _send(self, target: Keys, posted: list[_Posted], *, overdue: bool) -> int:
        await self._wire.send("SADD", Fleet(self._keys.namespace).queues, target.queue)
        jobs = (it.arguments for it in posted)
        source = Outbox(self._keys.queue, posted[0].epoch)
        step = relay(target, source, jobs, self._bounds, overdue=overdue)
        cut("relay.before_send")
        cut_in_flight("relay.in_flight")
        dealt, buried = await call(self._wire, step)
        cut("relay.answered")
        if buried:
            why = _NO_NEWER if overdue else "the queue has no free lane"
            logger.error(
                "%d follow-up jobs for queue %s became dead letters: %s", buried, target.queue, why
            )
        return int(dealt)

    async def _quarantine(self, entry: bytes, fields: list[bytes], why: str) -> None:
        queue = self._keys.queue
        logger.error("entry %s of the outbox of queue %s is not a job: %s", entry, queue, why)
        raw = foreign_envelope(entry.decode(), fields).data
        step = quarantine(self._keys, entry, raw, why)
        await call(self._wire, step)

    async def _lock(self) -> bool:
        taken = await self._wire.send(
            "SET", self._keys.relay_lock, self._token, "NX", "PX", _LOCK_MS
        )
        cut("relay.locked")
        return taken is not None

    async def _unlock(self) -> None:
        # Another's lock may have replaced ours after it expired: then it is theirs to end.
        if await self._wire.send("GET", self._keys.relay_lock) == self._token.encode():
            await self._wire.send("DEL", self._keys.relay_lock)


def _read(entry: bytes, fields: Sequence[bytes]) -> _Posted:
    """Return the job that an entry posts; ValueError when it is none of ours."""
    job = dict(zip(fields[::2], fields[1::2], strict=True))
    missing = _FIELDS - job.keys()
    if missing:
        raise ValueError(f"it has no {b', '.join(sorted(missing)).decode()}")
    queue = check_name("queue", job[b"queue"].decode())
    job_id = check_job_id(job[b"id"].decode())
    if not listed_lanes(queue, [job[b"lane"]]):
        raise ValueError(f"{job[b'lane']!r} is not a lane")
    for field, pattern, what in _PATTERNS:
        if not pattern.fullmatch(job[field].decode()):
            raise ValueError(f"{job[field]!r} is not a valid {what}")
    names = (b"event", b"data", b"options", b"due", b"guard")
    arguments: list[Argument] = [
        entry,
        job[b"lane"],
        bucket(job_id),
        job_id,
        *(job[name] for name in names),
    ]
    size = sum(map(len, job.values()))
    return _Posted(entry, queue, job[b"epoch"], arguments, size, is_known(job[b"guard"].decode()))


def _batches(page: Sequence[_Posted]) -> list[list[_Posted]]:
    """Return a page in batches, each for one queue and in order, and no larger than a script takes.

    A single job may be larger.
    """
    batches: list[list[_Posted]] = []
    open_ones: dict[tuple[str, bytes], tuple[list[_Posted], int]] = {}
    for it in page:
        batch, size = open_ones.get((it.queue, it.epoch), ([], BATCH_BYTES))
        if size + it.size > BATCH_BYTES:
            batch, size = [], 0
            batches.append(batch)
        batch.append(it)
        open_ones[it.queue, it.epoch] = (batch, size + it.size)
    return batches
