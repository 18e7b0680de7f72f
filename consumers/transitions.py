"""What each script is asked and what its answer means. Nothing else knows their arguments."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from consumers.delivery import Delivery, Stream
from consumers.errors import BrokenKey
from consumers.job import NewJob
from consumers.keys import Keys, bucket
from consumers.lanes import MAX_EVENT_LANES, MAX_LANES, Lane
from consumers.outcome import Buried, Completed, Outcome
from consumers.scripts import Argument, Script, load

# A script blocks Redis while it runs: 500 items take about 2 ms.
BATCH_ITEMS = 500
BATCH_BYTES = 1024 * 1024
DEAD_LETTERS = 10_000
LOG_LINES = 1000

EMIT, SETTLE, RENEW, RECLAIM = load("emit"), load("settle"), load("renew"), load("reclaim")
SOLO, NOTE, OPEN, REPAIR = load("solo"), load("note"), load("open"), load("repair")
RETIRE, FORGET = load("retire"), load("forget")
ALL = (EMIT, SETTLE, RENEW, RECLAIM, SOLO, NOTE, OPEN, REPAIR, RETIRE, FORGET)


@dataclass(frozen=True, slots=True)
class Call:
    """A script with its keys and arguments."""

    script: Script
    keys: list[str]
    args: list[Argument]

    @property
    def by_sha(self) -> tuple[Argument, ...]:
        """The command that calls the script when Redis has it."""
        return self.script.by_sha(self.keys, self.args)

    @property
    def by_source(self) -> tuple[Argument, ...]:
        """The command that calls the script and makes Redis keep it."""
        return self.script.by_source(self.keys, self.args)


class _Streams:
    """Stream keys in the order in which a script's arguments first name them."""

    def __init__(self, keys: list[str]) -> None:
        self.keys = keys
        self._index: dict[str, int] = {}

    def index(self, key: str) -> int:
        """Return the key's number among KEYS, adding it when it is new."""
        found = self._index.get(key)
        if found is None:
            self.keys.append(key)
            found = self._index[key] = len(self.keys)
        return found


def _job(keys: Keys, streams: _Streams, job: NewJob) -> tuple[Argument, ...]:
    where = streams.index(keys.lane(job.lane))
    return (where, bucket(job.id), job.id, job.event, job.data, job.options)


def emit_items(keys: Keys, jobs: Iterable[NewJob], *, depth: int | None) -> Call:
    """Return the emit of a batch, still without the batch's number and digest."""
    # The door fills in its own key.
    streams = _Streams(["", keys.meta, keys.lanes, keys.stats])
    args: list[Argument] = [depth or 0, MAX_LANES]
    for job in jobs:
        args.extend(_job(keys, streams, job))
    return Call(EMIT, streams.keys, args)


@dataclass(frozen=True, slots=True)
class Settlement:
    """A delivery, its outcome, and the jobs to add with it when it is completed."""

    delivery: Delivery
    outcome: Outcome
    children: Sequence[NewJob] = ()


def settle_items(
    keys: Keys, consumer: str, result_ttl_ms: int, settlements: Iterable[Settlement]
) -> Call:
    """Return the settle of a batch, still without the batch's number and digest."""
    streams = _Streams(["", keys.meta, keys.lanes, keys.stats, keys.dead, keys.dead_index])
    args: list[Argument] = [consumer, result_ttl_ms, DEAD_LETTERS, MAX_LANES, MAX_EVENT_LANES]
    for settlement in settlements:
        args.extend(_settlement(keys, streams, settlement))
    return Call(SETTLE, streams.keys, args)


def _settlement(keys: Keys, streams: _Streams, settlement: Settlement) -> list[Argument]:
    delivery, outcome = settlement.delivery, settlement.outcome
    stream, envelope = delivery.stream, delivery.envelope
    token: list[Argument] = [
        streams.index(stream.key), stream.group, delivery.entry, delivery.count,
        bucket(envelope.id), envelope.id, envelope.generation,
    ]  # fmt: skip
    if isinstance(outcome, Completed):
        children = [part for job in settlement.children for part in _job(keys, streams, job)]
        return ["complete", *token, outcome.result, len(settlement.children), *children]
    if isinstance(outcome, Buried):
        return ["bury", *token, outcome.reason, outcome.error, outcome.raw or b""]
    lane = released_to(delivery, outcome.event)
    return ["release", *token, streams.index(keys.lane(lane)), int(delivery.solo)]


def released_to(delivery: Delivery, event: str | None) -> Lane:
    """Return the lane to whose front a delivery is released."""
    lane = delivery.stream.lane
    return lane if event is None else lane.for_event(event, delivery.envelope.version)


def renew(consumer: str, deliveries: Iterable[Delivery]) -> Call:
    """Return the renewal of deliveries of one queue; answers with a 1 or 0 each."""
    streams = _Streams([])
    args: list[Argument] = [consumer]
    for delivery in deliveries:
        where = streams.index(delivery.stream.key)
        args += [where, delivery.stream.group, delivery.entry, delivery.count]
    return Call(RENEW, streams.keys, args)


def reclaim(
    stream: Stream, consumer: str, lease_ms: int, cursor: str, want: int, running: Iterable[str]
) -> Call:
    """Return one bounded step of taking over expired deliveries; see reclaim.lua."""
    page = 256
    args: list[Argument] = [stream.group, consumer, lease_ms, cursor, page, want, *running]
    return Call(RECLAIM, [stream.key, stream.keys.stats], args)


def solo(delivery: Delivery, consumer: str, limit: int) -> Call:
    """Return the recording of a solo run; answers with how many there were, or -1."""
    stream, envelope = delivery.stream, delivery.envelope
    return Call(
        SOLO,
        [stream.key, stream.keys.live(envelope.id)],
        [
            stream.group, consumer, delivery.entry, delivery.count,
            envelope.id, envelope.generation, stream.name, limit,
        ],
    )  # fmt: skip


def log(delivery: Delivery, consumer: str, ttl_ms: int, line: str) -> Call:
    """Return the writing of a line of a job's log; answers 1, or 0 when fenced off."""
    return _note(
        delivery, consumer, ttl_ms, delivery.stream.keys.log(delivery.envelope.id), LOG_LINES, line
    )


def progress(delivery: Delivery, consumer: str, ttl_ms: int, fields: Sequence[Argument]) -> Call:
    """Return the writing of a job's progress; answers 1, or 0 when fenced off."""
    key = delivery.stream.keys.progress(delivery.envelope.id)
    return _note(delivery, consumer, ttl_ms, key, 0, *fields)


def _note(
    delivery: Delivery, consumer: str, ttl_ms: int, key: str, most: int, *values: Argument
) -> Call:
    stream = delivery.stream
    token: list[Argument] = [stream.group, consumer, delivery.entry, delivery.count]
    return Call(NOTE, [stream.key, key], [*token, ttl_ms, most, *values])


def open_queue(keys: Keys, lane: Lane, lease_ms: int) -> Call:
    """Return the preparation of a queue for a worker; answers with epoch and lease in ms."""
    return Call(OPEN, [keys.meta, keys.lanes, keys.lane(lane)], [keys.base, lease_ms, lane.type])


def repair(keys: Keys, lane: Lane, group: str) -> Call:
    """Return the repair of a lane's lost groups; answers with how many were lost."""
    return Call(REPAIR, [keys.meta, keys.lanes, keys.lane(lane)], [lane.name, group])


def retire(keys: Keys, lane: Lane, unused_ms: int) -> Call:
    """Return the removal of an unused lane; answers 1 when it was removed."""
    return Call(RETIRE, [keys.lanes, keys.lane(lane), keys.front(lane)], [keys.base, unused_ms])


def forget(stream: Stream, unseen_ms: int) -> Call:
    """Return the removal of a stream's unseen, idle consumers; answers with their number."""
    return Call(FORGET, [stream.key], [stream.group, unseen_ms])


def words(answer: bytes) -> list[str]:
    """Return the words of an emit's or a settle's answer, one an item."""
    return answer.decode().split(" ")


def refused_key(word: str) -> BrokenKey:
    """Return the error behind a word T<key>."""
    return BrokenKey(word[1:])


def entries_of(reply: Any) -> list[tuple[str, int, list[bytes]]]:
    """Return entry, delivery count and flat fields of each delivery of a reclaim's answer."""
    return [(entry.decode(), count, fields) for entry, count, fields in reply[2:]]
