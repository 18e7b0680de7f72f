"""One queue seen from the scripts: emit, deliver, settle, break and compare, one call at a time."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import redis as redis_py
from redis.exceptions import NoScriptError, ResponseError

from consumers.admin.facts import end_of
from consumers.jobs.bounds import DeadLetterBounds
from consumers.jobs.envelope import NewJob, read_envelope
from consumers.jobs.lanes import Lane
from consumers.jobs.outcome import Outcome
from consumers.jobs.run_facts import RunFacts, read_facts
from consumers.store import changing, emitting, replaying, scheduling, settling, steps, tending
from consumers.store.delivery import Delivery, Stream
from consumers.store.keys import Keys
from consumers.store.schedule_record import Record
from consumers.store.scripts import Call
from consumers.store.settling import Settlement
from tests.support.waiting import PATIENCE

GROUP = "workers"
ME = "me"
OTHER = "other"
RESULT_TTL_MS = 60_000
BOUNDS = DeadLetterBounds()
_LAST = b"the last one"
# What reads all of a key, by its type.
_READS: Mapping[str, tuple[Any, ...]] = {
    "string": ("get",),
    "list": ("lrange", 0, -1),
    "hash": ("hgetall",),
    "set": ("smembers",),
    "zset": ("zrange", 0, -1, False, True),
    "stream": ("xrange",),
}

Snapshot = dict[str, Any]


def new_job(job_id: str = "a", event: str = "e", data: bytes = b"{}", **lane: Any) -> NewJob:
    """Return a job ready to be emitted; what is left over names its lane."""
    options, due, guard, queue = (
        lane.pop("options", b""),
        lane.pop("due", ""),
        lane.pop("guard", ""),
        lane.pop("queue", "default"),
    )
    return NewJob(job_id, event, data, Lane(queue, **lane), options, due, guard)


class Queue:
    """A queue of a server, ``default`` unless named, through the scripts themselves.

    Emits and settles go through the door of a writer; each call takes the next
    number unless one is given.
    """

    def __init__(self, redis: redis_py.Redis, name: str = "default") -> None:
        self.redis = redis
        self.keys = Keys(name)
        self.lane = Lane(name)
        self._numbers = itertools.count(1)

    def run(self, call: Call) -> Any:
        """Run a script by its digest, or by its text when Redis has not got it."""
        try:
            return self.redis.execute_command(*call.by_sha)
        except NoScriptError:
            return self.redis.execute_command(*call.by_source)

    def emit(self, *jobs: NewJob, depth: int | None = None, **batch: Any) -> list[str]:
        """Emit jobs in one batch and return a word for each."""
        items = emitting.emit_items(self.keys, jobs, depth=depth)
        return one_a_job(steps.words(self.run(self.numbered(items, **batch))))

    def settle(
        self,
        *settlements: Settlement | tuple[Delivery, Outcome],
        consumer: str = ME,
        result_ttl_ms: int = RESULT_TTL_MS,
        bounds: DeadLetterBounds = BOUNDS,
        **batch: Any,
    ) -> list[str]:
        """Settle deliveries in one batch and return its words."""
        listed = [it if isinstance(it, Settlement) else Settlement(*it) for it in settlements]
        items = settling.settle_items(self.keys, consumer, result_ttl_ms, listed, bounds)
        return steps.words(self.run(self.numbered(items, **batch)))

    def promote(self, most: int = 256) -> tuple[int, int]:
        """Promote once; return how many were moved and in how many ms the next is due."""
        moved, wait_ms = self.run(tending.promote(self.keys, most))
        return moved, wait_ms

    def replay(self, *job_ids: str, **batch: Any) -> list[str]:
        """Replay dead letters in one batch and return its words."""
        items = replaying.replay_items(self.keys, job_ids)
        return steps.words(self.run(self.numbered(items, **batch)))

    def cancel(
        self, job_id: str = "a", run: int | None = None, result_ttl_ms: int = RESULT_TTL_MS
    ) -> tuple[str, int]:
        """Cancel a job; return the word and the run."""
        word, generation, *_ = self.run(changing.cancel(self.keys, job_id, run, result_ttl_ms))
        return word.decode(), generation

    def end(self, job_id: str = "a") -> bytes | None:
        """Return what is kept of how a job ended, without the facts of its run."""
        stored = self.redis.get(self.keys.result(job_id))
        return None if stored is None else without_facts(stored)

    def facts(self, job_id: str = "a") -> RunFacts:
        """Return the facts that are kept of a job's last run."""
        found = read_facts(end_of(self.redis.get(self.keys.result(job_id))).kept)
        assert found is not None
        return found

    def marks(self) -> tuple[set[str], set[str]]:
        """Return the entries that are cancelled: those that waited, those that somebody had."""
        found = (self.redis.smembers(key) for key in (self.keys.cancelled, self.keys.cancelling))
        waited, ran = ({mark.decode() for mark in marks} for marks in found)
        return waited, ran

    def pause(self, event: str | None = None) -> int:
        """Pause the queue or one event; return the number of the state."""
        number: int = self.run(changing.pause(self.keys, event, pauses=True))
        return number

    def resume(self, event: str | None = None) -> int:
        """Resume the queue or one event; return the number of the state."""
        number: int = self.run(changing.pause(self.keys, event, pauses=False))
        return number

    def register(
        self,
        name: str = "s",
        *,
        slot: int | None,
        digest: str = "d1",
        version: int = 1,
        definition: bytes = b"{}",
        source: str = "handler",
        confirm_only: bool = False,
    ) -> tuple[str, int | None]:
        """Register a schedule; return the word and the next fire."""
        call = scheduling.register(
            self.keys, name, digest=digest, version=version, definition=definition, slot=slot,
            source=source, confirm_only=confirm_only,
        )  # fmt: skip
        word, at = self.run(call)
        return word.decode(), int(at) if at else None

    def schedule(self, name: str = "s") -> Record | None:
        """Return what Redis keeps of a schedule."""
        found = self.redis.hgetall(self.keys.schedule(name))
        return Record.read(name, [part for pair in found.items() for part in pair])

    def fire(
        self,
        known: Record,
        *jobs: NewJob,
        latest: int | None = None,
        following: int | None = None,
        overlap: str = "allow",
        passed_over: int = 0,
    ) -> tuple[str, int]:
        """Fire a schedule as it is known, up to its next fire unless told; return word and jobs."""
        latest = known.slot if latest is None else latest
        assert latest is not None
        call = scheduling.fire(
            self.keys, known, latest=latest, following=following, overlap=overlap,
            passed_over=passed_over, jobs=jobs,
        )  # fmt: skip
        word, added = self.run(call)
        return word.decode(), added

    def letters(self) -> list[dict[str, bytes]]:
        """Return the dead letters, oldest first."""
        found = self.redis.xrange(self.keys.dead)
        return [{name.decode(): value for name, value in fields.items()} for _, fields in found]

    def now_ms(self) -> int:
        """Return the time by Redis' clock."""
        seconds, micros = self.redis.time()
        return int(seconds) * 1000 + int(micros) // 1000

    def put_off(self) -> dict[str, int]:
        """Return the ids that are put off with their due times (ms), in order."""
        found = self.redis.zrange(self.keys.delayed, 0, -1, withscores=True)
        return {job_id.decode(): int(due) for job_id, due in found}

    def make_due(self, *job_ids: str, ago_ms: int = 1) -> None:
        """Let jobs look due since then, so that nobody has to wait for it."""
        due = self.now_ms() - ago_ms
        self.redis.zadd(self.keys.delayed, dict.fromkeys(job_ids, due))

    def numbered(
        self, call: Call, *, writer: str = "w", number: int | None = None, digest: str | None = None
    ) -> Call:
        """Return a batch with its writer, number and digest, as the door sends it."""
        number = next(self._numbers) if number is None else number
        digest = digest or hashlib.blake2b(repr(call.args).encode(), digest_size=16).hexdigest()
        keys = [self.keys.writer(writer), *call.keys[1:]]
        return Call(call.script, keys, [self.keys.base, number, digest, *call.args])

    def stream(
        self, lane: Lane | None = None, *, front: bool = False, group: str = GROUP
    ) -> Stream:
        """Return a lane (the default one when none is given) or its front."""
        return Stream(self.keys, lane or self.lane, group, front=front)

    def deliver(
        self,
        lane: Lane | None = None,
        *,
        front: bool = False,
        consumer: str = ME,
        count: int = 1000,
    ) -> list[Delivery]:
        """Hand the waiting jobs of a lane to a consumer, at most count."""
        stream = self.stream(lane, front=front)
        reply = self.redis.execute_command(
            "XREADGROUP", "GROUP", GROUP, consumer, "COUNT", count, "STREAMS", stream.key, ">"
        )
        return [_delivery(stream, entry.decode(), fields) for entry, fields in _entries(reply)]

    def read_along(self, group: str, lane: Lane | None = None, *, front: bool = False) -> None:
        """Let a group of somebody else read all of a lane and acknowledge nothing."""
        key = self.stream(lane, front=front).key
        self.redis.xgroup_create(key, group, "0")
        self.redis.xreadgroup(group, "somebody", {key: ">"})

    def one(self, job: NewJob | None = None, consumer: str = ME) -> Delivery:
        """Emit a job and return its delivery to a consumer."""
        job = job or new_job()
        self.emit(job)
        return self.deliver(job.lane, consumer=consumer)[-1]

    def age(self, delivery: Delivery, ms: int) -> None:
        """Let a delivery look unrenewed for so long; neither owner nor count change."""
        row = self._row(delivery)
        assert row is not None, f"{delivery.entry} is not pending"
        stream, entries = delivery.stream, [delivery.entry]
        self.redis.xclaim(
            stream.key, stream.group, row["consumer"], 0, entries, idle=ms, justid=True
        )

    def hand_over(self, delivery: Delivery, consumer: str = OTHER) -> None:
        """Let a consumer take a delivery over, as a reclaim does: its count grows."""
        stream = delivery.stream
        self.redis.xclaim(stream.key, stream.group, consumer, 0, [delivery.entry])

    def pending(self, delivery: Delivery) -> tuple[str, int] | None:
        """Return consumer and delivery count of a pending entry, None when it is not pending."""
        row = self._row(delivery)
        return (row["consumer"].decode(), row["times_delivered"]) if row else None

    def idle(self, delivery: Delivery) -> int:
        """Return for how many ms a pending entry was not renewed."""
        row = self._row(delivery)
        assert row is not None, f"{delivery.entry} is not pending"
        return int(row["time_since_delivered"])

    def pointer(self, job_id: str = "a") -> str | None:
        """Return where the index of live jobs says that a job is."""
        found = self.redis.hget(self.keys.live(job_id), job_id)
        return found.decode() if found is not None else None

    def stat(self, name: str) -> int:
        """Return one of the queue's counters."""
        return int(self.redis.hget(self.keys.stats, name) or 0)

    def ids(self, lane: Lane | None = None, *, front: bool = False) -> list[str]:
        """Return the ids of the jobs in a lane, in its order."""
        entries = self.redis.xrange(self.stream(lane, front=front).key)
        return [fields[b"id"].decode() for _, fields in entries]

    def lags(self) -> list[int | None]:
        """Return XINFO's lag of every group of every lane; only Redis 7.0 knows it."""
        return [
            group["lag"]
            for key in self.redis.scan_iter(f"{self.keys.base}lane:*", _type="stream")
            for group in self.redis.xinfo_groups(key)
        ]

    def snapshot(self) -> Snapshot:
        """Return everything Redis holds, idle times apart, so that equal means unchanged."""
        keys = list(self.redis.scan_iter(count=1000))
        kinds = [kind.decode() for kind in self._all(("type", key) for key in keys)]
        ttls = self._all(("pttl", key) for key in keys)
        contents = self._all(
            (_READS[kind][0], key, *_READS[kind][1:]) for key, kind in zip(keys, kinds, strict=True)
        )
        groups = self._groups(
            [key for key, kind in zip(keys, kinds, strict=True) if kind == "stream"]
        )
        return {
            key.decode(): (kind, ttl > 0, (content, groups[key]) if key in groups else content)
            for key, kind, ttl, content in zip(keys, kinds, ttls, contents, strict=True)
        }

    def writes(self) -> Snapshot:
        """Return a snapshot without what a refused batch may write: its answer and counters."""
        volatile = (f"{self.keys.base}prod:", self.keys.stats)
        return {key: it for key, it in self.snapshot().items() if not key.startswith(volatile)}

    def _row(self, delivery: Delivery) -> dict[str, Any] | None:
        stream, entry = delivery.stream, delivery.entry
        rows = self.redis.xpending_range(stream.key, stream.group, entry, entry, 1)
        return rows[0] if rows else None

    def _groups(self, streams: Sequence[bytes]) -> dict[bytes, dict[bytes, Any]]:
        """Return of each group of streams how far it was given them, and what is pending."""
        found: dict[bytes, dict[bytes, Any]] = {key: {} for key in streams}
        listed = self._all(("xinfo_groups", key) for key in streams)
        groups = [(key, it) for key, its in zip(streams, listed, strict=True) for it in its]
        pending = self._all(
            ("xpending_range", key, group["name"], "-", "+", 10_000) for key, group in groups
        )
        for (key, group), rows in zip(groups, pending, strict=True):
            held = [(it["message_id"], it["consumer"], it["times_delivered"]) for it in rows]
            found[key][group["name"]] = (group["last-delivered-id"], held)
        return found

    def _all(self, commands: Iterable[tuple[Any, ...]]) -> list[Any]:
        """Return what a client's methods return, all of them in one round trip."""
        with self.redis.pipeline(transaction=False) as pipe:
            for name, *args in commands:
                getattr(pipe, name)(*args)
            return list(pipe.execute())


def one_a_job(said: Iterable[str]) -> list[str]:
    """Return the words of an emit's answer with a word for each job that was added."""
    return [it for word in said for it in _each(word)]


def _each(word: str) -> list[str]:
    first, of_many, number = word.partition("*")
    if not (word.startswith("+") and of_many):
        return [word]
    return [f"+{run}" for run in range(int(first), int(first) + int(number))]


@contextlib.contextmanager
def listening(redis: redis_py.Redis, channel: str) -> Iterator[list[str]]:
    """Collect what is published to a channel in the block; complete behind it."""
    heard: list[str] = []
    with redis.pubsub() as listener:
        listener.subscribe(channel)
        _messages(listener, "subscribe")
        yield heard
        # What it publishes itself comes after everything that was published before.
        redis.publish(channel, _LAST)
        heard += _messages(listener, "message")


def without_facts(stored: bytes) -> bytes:
    """Return a kept end without what is kept of the run beside it."""
    end = end_of(stored)
    return b"%d %b %b" % (end.generation, end.state.encode(), end.value)


def _messages(listener: Any, until: str) -> list[str]:
    """Return the messages up to the confirmation of the subscription, or to the last one."""
    found: list[str] = []
    for _ in range(1000):
        message = listener.get_message(timeout=PATIENCE)
        assert message is not None, f"nothing came after {found}"
        if message["type"] == until and (until == "subscribe" or message["data"] == _LAST):
            break
        found.append(message["data"].decode())
    return found


@contextlib.contextmanager
def full_memory(redis: redis_py.Redis) -> Iterator[None]:
    """Let Redis refuse every command that needs memory, as maxmemory does when it is reached."""
    redis.config_set("maxmemory-policy", "noeviction")
    redis.config_set("maxmemory", 1)
    try:
        yield
    finally:
        redis.config_set("maxmemory", 0)


@contextlib.contextmanager
def foreign_value(redis: redis_py.Redis, key: str) -> Iterator[None]:
    """Put somebody else's string where a key of ours is; afterwards ours is back."""
    away = f"{key}:away"
    with contextlib.suppress(ResponseError):
        redis.rename(key, away)
    redis.set(key, "somebody else's")
    try:
        yield
    finally:
        redis.delete(key)
        with contextlib.suppress(ResponseError):
            redis.rename(away, key)


def _entries(reply: Any) -> list[tuple[bytes, Any]]:
    if not reply:
        return []
    (entries,) = reply.values() if isinstance(reply, dict) else (reply[0][1],)
    return list(entries)


def _delivery(stream: Stream, entry: str, fields: Any) -> Delivery:
    flat: Sequence[bytes] = (
        [part for pair in fields.items() for part in pair] if isinstance(fields, dict) else fields
    )
    envelope = read_envelope(flat)
    assert envelope is not None, f"{entry} of {stream.key} is not a job: {flat}"
    return Delivery(stream, entry, 1, envelope, time.monotonic())
