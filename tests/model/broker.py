"""The broker as the machine drives it: every script against a real Redis, one call at a time.

It also plays what nobody wants to wait for: leases run out, times pass, groups are lost.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import redis as redis_py
from redis.exceptions import ResponseError

from consumers.jobs.bounds import DeadLetterBounds
from consumers.jobs.envelope import NewJob, read_envelope
from consumers.jobs.lanes import Lane
from consumers.jobs.outcome import Outcome
from consumers.store import (
    asking,
    emitting,
    leasing,
    noting,
    relaying,
    replaying,
    scheduling,
    settling,
    steps,
    tending,
)
from consumers.store.delivery import Delivery, Stream
from consumers.store.keys import Fleet, Keys, bucket
from consumers.store.scripts import Call
from consumers.store.settling import Settlement
from tests.model.state import BEGINS_AFTER_MS, GROUP, MOST_LETTERS, OUTBOX_EPOCH, Token
from tests.support.queue import Queue, one_a_job

LEASE_MS = 600_000
_DAY_MS = 86_400_000
_BOUNDS = DeadLetterBounds(most=MOST_LETTERS)
_TTL_MS = 3_600_000

# Everything that Redis holds, in one step: key, type, time to live (ms, -1 for none), content.
_DUMP = """
local readers = {
  string = function(key) return redis.call('GET', key) end,
  list = function(key) return redis.call('LLEN', key) end,
  hash = function(key) return redis.call('HGETALL', key) end,
  set = function(key) return redis.call('SMEMBERS', key) end,
  zset = function(key) return redis.call('ZRANGE', key, 0, -1, 'WITHSCORES') end,
  stream = function(key)
    local groups = {}
    for _, facts in ipairs(redis.call('XINFO', 'GROUPS', key)) do
      groups[#groups + 1] = { facts, redis.call('XPENDING', key, facts[2], '-', '+', 1000) }
    end
    return { redis.call('XRANGE', key, '-', '+'), groups }
  end,
}
local dump = { redis.call('TIME') }
for _, key in ipairs(redis.call('KEYS', '*')) do
  local kind = redis.call('TYPE', key).ok
  dump[#dump + 1] = { key, kind, redis.call('PTTL', key), readers[kind](key) }
end
return dump
"""


@dataclass(frozen=True)
class SeenGroup:
    """A stream's group: its lag (before Redis 7.0 there is none) and who has what."""

    name: str
    knows_lag: bool
    lag: int | None
    pending: dict[str, tuple[str, int]]


@dataclass(frozen=True)
class SeenStream:
    """A stream: its entries in order, and its groups."""

    entries: dict[str, list[bytes]]
    groups: list[SeenGroup]


@dataclass(frozen=True)
class SeenQueue:
    """The keys of one queue, by what stands behind its prefix; contents as Redis gives them."""

    contents: dict[str, Any] = field(default_factory=dict)
    kinds: dict[str, str] = field(default_factory=dict)
    ttls: dict[str, int] = field(default_factory=dict)

    def hash(self, name: str) -> dict[str, str]:
        """Return a hash of texts; empty when there is none."""
        flat = [part.decode() for part in self.contents.get(name, ())]
        return dict(zip(flat[::2], flat[1::2], strict=True))

    def scores(self, name: str) -> dict[str, int]:
        """Return a sorted set; empty when there is none."""
        return {member: int(score) for member, score in self.hash(name).items()}

    def names(self, prefix: str) -> list[str]:
        """Return what stands behind a prefix in the names of the keys that have it."""
        return [name.removeprefix(prefix) for name in self.contents if name.startswith(prefix)]

    def stream(self, name: str) -> SeenStream:
        """Return a stream; empty when there is none."""
        entries, groups = self.contents.get(name, ((), ()))
        return SeenStream(
            {entry.decode(): fields for entry, fields in entries},
            [_group(facts, rows) for facts, rows in groups],
        )


@dataclass(frozen=True)
class Seen:
    """Everything that Redis holds at one moment; now in ms by its clock."""

    now: int
    queues: dict[str, SeenQueue]
    others: list[str]


class Broker:
    """Two queues of one server, a and b, and the batches that were sent to them."""

    def __init__(self, redis: redis_py.Redis) -> None:
        self.redis = redis
        self.queues = {name: Queue(redis, name) for name in ("a", "b")}
        self._dump = redis.register_script(_DUMP)

    def see(self) -> Seen:
        """Return everything that Redis holds."""
        (seconds, micros), *rows = self._dump()
        queues, others = {name: SeenQueue() for name in self.queues}, []
        for key, kind, ttl, content in rows:
            name = key.decode()
            queue = name[4:5] if name.startswith("tm:{") else ""
            if queue not in queues:
                others.append(name)
                continue
            suffix = name.removeprefix(self.queues[queue].keys.base)
            queues[queue].contents[suffix] = content
            queues[queue].kinds[suffix] = kind.decode()
            queues[queue].ttls[suffix] = ttl
        return Seen(int(seconds) * 1000 + int(micros) // 1000, queues, others)

    # Batches, as the door sends them

    def emit(self, queue: str, writer: str, jobs: Sequence[NewJob], depth: int | None) -> Call:
        """Return an emit with its number."""
        it = self.queues[queue]
        return it.numbered(emitting.emit_items(it.keys, jobs, depth=depth), writer=writer)

    def settle(
        self,
        queue: str,
        writer: str,
        consumer: str,
        settled: Iterable[tuple[Token, Outcome, Sequence[NewJob]]],
    ) -> Call:
        """Return a settle with its number."""
        it = self.queues[queue]
        listed = [
            Settlement(self._delivery(it.keys, token), outcome, jobs)
            for token, outcome, jobs in settled
        ]
        items = settling.settle_items(it.keys, consumer, _TTL_MS, listed, _BOUNDS)
        return it.numbered(items, writer=writer)

    def replay(self, queue: str, writer: str, job_ids: Sequence[str]) -> Call:
        """Return a replay with its number."""
        it = self.queues[queue]
        return it.numbered(replaying.replay_items(it.keys, job_ids), writer=writer)

    def send(self, queue: str, batch: Call) -> list[str] | str:
        """Send a batch; return its words, or the word of its error."""
        try:
            return one_a_job(steps.words(self.queues[queue].run(batch)))
        except ResponseError as error:
            return str(error).split(" ")[0]

    # Deliveries

    def fetch(self, queue: str, place: str, consumer: str, count: int) -> list[Token] | None:
        """Read a stream as the reader does, marks and all; None when its group is lost."""
        it, stream = self.queues[queue], self._stream(queue, place)
        try:
            found = it.deliver(stream.lane, front=stream.front, consumer=consumer, count=count)
        except ResponseError as error:
            if "NOGROUP" not in str(error):
                raise
            return None
        marks = [f"{place} {delivery.entry}" for delivery in found]
        sets = (it.keys.cancelled, it.keys.cancelling)
        flags = (
            zip(*(self.redis.smismember(key, marks) for key in sets), strict=True) if marks else ()
        )
        return [
            Token(place, delivery.entry, consumer, 1, delivery.envelope, cancelled=any(some))
            for delivery, some in zip(found, flags, strict=True)
        ]

    def reclaim(
        self, queue: str, place: str, consumer: str, want: int, running: Iterable[str]
    ) -> list[Token]:
        """Take deliveries over in one step from the start of a stream."""
        stream = self._stream(queue, place)
        call = leasing.reclaim(stream, consumer, LEASE_MS, "-", want, running)
        found = []
        for entry, count, fields, is_over in leasing.entries_of(self.queues[queue].run(call)):
            envelope = read_envelope(fields)
            assert envelope is not None
            found.append(Token(place, entry, consumer, count, envelope, cancelled=is_over))
        return found

    def renew(self, queue: str, consumer: str, tokens: Iterable[Token]) -> str:
        """Return a flag for each token."""
        it = self.queues[queue]
        deliveries = [self._delivery(it.keys, token) for token in tokens]
        flags: bytes = it.run(leasing.renew(it.keys, consumer, deliveries))
        return flags.decode()

    def solo(self, queue: str, token: Token, runs: int | None) -> int:
        """Record how many solo runs there were, or only ask; return how many were recorded."""
        it = self.queues[queue]
        call = leasing.solo(self._delivery(it.keys, token), token.consumer, runs)
        return int(it.run(call))

    def log(self, queue: str, token: Token) -> int:
        """Write a line of a job's log; return whether it was written."""
        it = self.queues[queue]
        call = noting.log(self._delivery(it.keys, token), token.consumer, _TTL_MS, "line")
        return int(it.run(call))

    def forget(self, queue: str, place: str) -> None:
        """Remove the consumers of a stream that hold nothing."""
        self.queues[queue].run(tending.forget(self._stream(queue, place), 0))

    # Operators and upkeep

    def purge(self, queue: str) -> int:
        """Delete all letters; return how many."""
        it = self.queues[queue]
        purged, more = it.run(replaying.purge(it.keys, 0))
        assert not more
        return int(purged)

    def inspect(self, queue: str, job_id: str, channel: str) -> list[Any]:
        """Return all that Redis knows of a job."""
        it = self.queues[queue]
        call = asking.inspect(it.keys, job_id, channel=channel, waiter_ttl_ms=_TTL_MS)
        return list(it.run(call))

    def open(self, queue: str) -> None:
        """Prepare a queue for a worker."""
        it = self.queues[queue]
        it.run(tending.open_queue(it.keys, it.lane, LEASE_MS))

    def retire(self, queue: str, lane: str) -> int:
        """Remove an unused lane, a millisecond after its last entry; return whether it was."""
        it, now = self.queues[queue], self.queues[queue].now_ms()
        while it.now_ms() == now:
            time.sleep(0.0002)
        return int(it.run(tending.retire(it.keys, Lane.parse(queue, lane), 0)))

    def repair(self, queue: str, lane: str) -> int:
        """Make lost groups again; return how many."""
        it = self.queues[queue]
        regrouped, remade = it.run(tending.repair(it.keys, Lane.parse(queue, lane), GROUP))
        return len(regrouped) + len(remade)

    def relay(
        self, queue: str, target: str, posted: Sequence[tuple[str, NewJob]]
    ) -> tuple[int, int]:
        """Send children on as the relay does; return how many are dealt with, and buried."""
        it = self.queues[target]
        self.redis.sadd(Fleet().queues, target)
        arguments = [_posted(entry, job) for entry, job in posted]
        dealt, buried = it.run(
            relaying.relay(it.keys, relaying.Outbox(queue, OUTBOX_EPOCH), arguments, _BOUNDS)
        )
        return dealt, buried

    def delete_posted(self, queue: str, entries: Sequence[str]) -> None:
        """Delete entries of an outbox."""
        self.redis.xdel(self.queues[queue].keys.outbox, *entries)

    def reschedule(self, queue: str, name: str, what: str, given: str, digest: str) -> str:
        """Pause, resume or remove a schedule; return the word."""
        keys = self.queues[queue].keys
        calls = {
            "pause": lambda: scheduling.pause(keys, name, given, digest=digest),
            "resume": lambda: scheduling.resume(keys, name, int(given), digest=digest),
            "remove": lambda: scheduling.remove(keys, name),
        }
        word: bytes = self.queues[queue].run(calls[what]())
        return word.decode()

    # What time and other people do

    def expire(self, queue: str, place: str) -> None:
        """Let the leases of all deliveries of a stream run out."""
        key, rows = self._stream(queue, place).key, list[Any]()
        rows += self.redis.xpending_range(key, GROUP, "-", "+", 1000)
        for row in rows:
            self.redis.xclaim(
                key, GROUP, row["consumer"], 0, [row["message_id"]],
                idle=_DAY_MS, retrycount=row["times_delivered"], justid=True,
            )  # fmt: skip

    def make_due(self, queue: str, job_id: str) -> int:
        """Let a job that is put off be due; return since when."""
        self.queues[queue].make_due(job_id)
        return self.queues[queue].put_off()[job_id]

    def forget_key(self, queue: str, digest: str) -> None:
        """Let the time of a guard's key run out."""
        keys = self.queues[queue].keys
        self.redis.delete(keys.idempotency(digest), keys.debounce(digest))

    def lose_group(self, queue: str, place: str) -> None:
        """Destroy a stream's group."""
        self.redis.xgroup_destroy(self._stream(queue, place).key, GROUP)

    def _stream(self, queue: str, place: str) -> Stream:
        return _stream(self.queues[queue].keys, place)

    def _delivery(self, keys: Keys, token: Token) -> Delivery:
        stream = _stream(keys, token.place)
        delivery = Delivery(stream, token.entry, token.count, token.envelope, time.monotonic())
        delivery.solo = token.was_solo
        delivery.started_ms = token.envelope.created_at + BEGINS_AFTER_MS
        return delivery


def _stream(keys: Keys, place: str) -> Stream:
    lane = Lane.parse(keys.queue, place.removesuffix(":front"))
    return Stream(keys, lane, GROUP, front=place.endswith(":front"))


def _posted(entry: str, job: NewJob) -> list[Any]:
    where = [entry, job.lane.name, bucket(job.id), job.id]
    return [*where, job.event, job.data, job.options, job.due, job.guard]


def _group(flat: list[Any], rows: list[Any]) -> SeenGroup:
    facts = dict(zip(flat[::2], flat[1::2], strict=True))
    pending = {entry.decode(): (who.decode(), count) for entry, who, _, count in rows}
    return SeenGroup(facts[b"name"].decode(), b"lag" in facts, facts.get(b"lag"), pending)
