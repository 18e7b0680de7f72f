"""Send children that were committed for other queues on to them, in order and once."""

from __future__ import annotations

import logging
import re
import secrets
from collections.abc import Sequence

from redis.exceptions import RedisError

from consumers.alarm import Alarm
from consumers.delivery import foreign_envelope
from consumers.errors import InvalidName
from consumers.faults import cut, cut_in_flight
from consumers.keys import Fleet, Keys, bucket
from consumers.lanes import listed_lanes
from consumers.link import Argument
from consumers.names import check_job_id, check_name
from consumers.scripts import call
from consumers.transitions import DeadLetterBounds, quarantine, relay
from consumers.trouble import Trouble
from consumers.wire import Wire

logger = logging.getLogger(__name__)

BATCH = 100
# However many hints were lost, the outbox is looked at this often.
LOOK = 2.0
_LOCK_MS = 5_000
_FIELDS = {b"queue", b"lane", b"id", b"event", b"data", b"options", b"due", b"guard"}
_DUE = re.compile(r"(\+?\d{1,14})?")
_GUARD = re.compile(r"(i [\w-]+|[tl] [\w-]+ \d{1,14} \d{1,14})?")

# An entry of the outbox, and the arguments with which it is sent on.
_Posted = tuple[bytes, list[Argument]]


class Relay:
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
        self._wire = wire
        self._keys = keys
        self._bounds = bounds
        self._batch = batch
        self._token = secrets.token_hex(16)
        self._alarm = Alarm()
        self._trouble = Trouble(logger, f"the outbox of {keys.queue} waits")
        # Queues that took nothing when they were last asked; said once.
        self._blocked: set[str] = set()

    def wake(self) -> None:
        """Something was posted."""
        self._alarm.ring()

    async def run(self) -> None:
        """Relay until cancelled; an error delays the next step, it never ends the loop."""
        while True:
            self._alarm.reset()
            try:
                await self.step()
                self._trouble.over()
            except RedisError as error:
                self._trouble.say(error)
            except Exception:
                logger.exception("the relay of %s failed", self._keys.queue)
            await self._alarm.sleep(LOOK)

    async def step(self) -> None:
        """Relay all that the outbox holds now, except for queues that take nothing."""
        if not await self._page("-") or not await self._lock():
            return
        try:
            blocked: set[str] = set()
            after = "-"
            while page := await self._page(after):
                for queue, posted in (await self._by_queue(page)).items():
                    if queue not in blocked and not await self._deliver(queue, posted):
                        blocked.add(queue)
                after = "(" + page[-1][0].decode()
            self._blocked = blocked
        finally:
            await self._unlock()

    async def _page(self, after: str) -> list[tuple[bytes, list[bytes]]]:
        page: list[tuple[bytes, list[bytes]]] = await self._wire.send(
            "XRANGE", self._keys.outbox, after, "+", "COUNT", self._batch
        )
        return page

    async def _by_queue(self, page: list[tuple[bytes, list[bytes]]]) -> dict[str, list[_Posted]]:
        """Return the page's jobs by the queue they go to, each in their order."""
        found: dict[str, list[_Posted]] = {}
        for entry, fields in page:
            try:
                queue, arguments = _read(fields)
            except (InvalidName, ValueError) as error:
                await self._quarantine(entry, fields, str(error))
            else:
                found.setdefault(queue, []).append((entry, [entry, *arguments]))
        return found

    async def _deliver(self, queue: str, posted: list[_Posted]) -> bool:
        """Send jobs on to their queue; return whether it took all of them."""
        try:
            dealt = await self._send(Keys(queue, self._keys.namespace), posted)
        except RedisError as error:
            self._say_blocked(queue, str(error))
            return False
        if dealt:
            cut("relay.before_delete")
            await self._wire.send(
                "XDEL", self._keys.outbox, *(entry for entry, _ in posted[:dealt])
            )
            cut("relay.after_delete")
        if dealt < len(posted):
            self._say_blocked(queue, "a foreign value is in their way")
        return dealt == len(posted)

    def _say_blocked(self, queue: str, why: str) -> None:
        level = logging.DEBUG if queue in self._blocked else logging.ERROR
        logger.log(level, "children for queue %s wait: %s", queue, why)

    async def _send(self, target: Keys, posted: list[_Posted]) -> int:
        await self._wire.send("SADD", Fleet(self._keys.namespace).queues, target.queue)
        jobs = (arguments for _, arguments in posted)
        step = relay(target, self._keys.queue, jobs, self._bounds)
        cut("relay.before_send")
        cut_in_flight("relay.in_flight")
        dealt, buried = await call(self._wire, step.script, step.keys, step.args)
        cut("relay.answered")
        if buried:
            logger.error("%d children are dead: queue %s has no lane left", buried, target.queue)
        return int(dealt)

    async def _quarantine(self, entry: bytes, fields: list[bytes], why: str) -> None:
        logger.error("entry %s of the outbox of %s is no job: %s", entry, self._keys.queue, why)
        raw = foreign_envelope(entry.decode(), fields).data
        step = quarantine(self._keys, entry, raw, why)
        await call(self._wire, step.script, step.keys, step.args)

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


def _read(fields: Sequence[bytes]) -> tuple[str, list[Argument]]:
    """Return the queue and the arguments of a posted job; ValueError when it is none of ours."""
    job = dict(zip(fields[::2], fields[1::2], strict=True))
    missing = _FIELDS - job.keys()
    if missing:
        raise ValueError(f"it has no {b', '.join(sorted(missing)).decode()}")
    queue = check_name("queue", job[b"queue"].decode())
    job_id = check_job_id(job[b"id"].decode())
    if not listed_lanes(queue, [job[b"lane"]]):
        raise ValueError(f"{job[b'lane']!r} is no lane")
    if not _DUE.fullmatch(job[b"due"].decode()):
        raise ValueError(f"{job[b'due']!r} is no due time")
    if not _GUARD.fullmatch(job[b"guard"].decode()):
        raise ValueError(f"{job[b'guard']!r} is no guard")
    names = (b"event", b"data", b"options", b"due", b"guard")
    return queue, [job[b"lane"], bucket(job_id), job_id, *(job[name] for name in names)]
