"""What each script is asked and what its answer means. Nothing else knows their arguments."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from consumers.connections.link import Argument
from consumers.errors import BrokenKey
from consumers.jobs.job import Envelope, NewJob
from consumers.jobs.lanes import MAX_EVENT_LANES, MAX_LANES, Lane
from consumers.jobs.outcome import Buried, Cancelled, Completed, Outcome, Released, RetryAt
from consumers.store.delivery import Delivery, Stream
from consumers.store.keys import LIVE_BUCKETS, Keys, bucket
from consumers.store.scripts import Script, load

# A script blocks Redis while it runs: 500 items take about 2 ms.
BATCH_ITEMS = 500
BATCH_BYTES = 1024 * 1024
LOG_LINES = 1000
# Pending entries that one step of reclaiming looks at.
RECLAIM_PAGE = 256
# Paused events lie in one field that every worker reads every other second.
MAX_PAUSED_EVENTS = 1000
# An audit looks at so many buckets of the index in one script.
_AUDIT_BUCKETS = 256

EMIT, SETTLE, RENEW, RECLAIM = load("emit"), load("settle"), load("renew"), load("reclaim")
SOLO, NOTE, OPEN, REPAIR = load("mark_solo"), load("note"), load("open_queue"), load("repair_lane")
RETIRE, FORGET, PROMOTE = load("retire_lane"), load("forget_consumers"), load("promote")
CANCEL, PAUSE = load("cancel"), load("pause")
QUARANTINE = load("quarantine")
REPLAY, PURGE, INSPECT, RELAY = load("replay"), load("purge"), load("inspect"), load("relay")
LIVING, LEAVE, AUDIT = load("are_live"), load("forget_waiter"), load("audit_live")
ALL = (
    EMIT, SETTLE, RENEW, RECLAIM, SOLO, NOTE, OPEN, REPAIR, RETIRE, FORGET,
    PROMOTE, REPLAY, PURGE, INSPECT, RELAY, QUARANTINE, LIVING, LEAVE, CANCEL, PAUSE, AUDIT,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class DeadLetterBounds:
    """How many dead letters are kept: most of them (0 keeps none), bytes, and age in ms."""

    most: int = 10_000
    most_bytes: int = 256 * 1024 * 1024
    max_age_ms: int = 30 * 24 * 3600 * 1000


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


class Streams:
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


def job_fields(keys: Keys, streams: Streams, job: NewJob) -> tuple[Argument, ...]:
    """Return a job as the scripts take it that may add it."""
    where = streams.index(keys.lane(job.lane))
    return (where, bucket(job.id), job.id, job.event, job.data, job.options, job.due, job.guard)


def emit_items(keys: Keys, jobs: Iterable[NewJob], *, depth: int | None) -> Call:
    """Return the emit of a batch, still without the batch's number and digest."""
    # The door fills in its own key.
    streams = Streams(["", keys.meta, keys.lanes, keys.stats])
    args: list[Argument] = [depth or 0, MAX_LANES]
    for job in jobs:
        args.extend(job_fields(keys, streams, job))
    return Call(EMIT, streams.keys, args)


class Settlement(NamedTuple):
    """A delivery, its outcome, and the jobs to add with it when it is completed."""

    delivery: Delivery
    outcome: Outcome
    children: Sequence[NewJob] = ()


def settle_items(
    keys: Keys,
    consumer: str,
    result_ttl_ms: int,
    settlements: Iterable[Settlement],
    bounds: DeadLetterBounds = DeadLetterBounds(),
) -> Call:
    """Return the settle of a batch, still without the batch's number and digest."""
    streams = Streams(["", keys.meta, keys.lanes, keys.stats, keys.dead, keys.dead_index])
    args: list[Argument] = [
        consumer, result_ttl_ms, bounds.most, bounds.most_bytes, bounds.max_age_ms,
        MAX_LANES, MAX_EVENT_LANES,
    ]  # fmt: skip
    for settlement in settlements:
        args.extend(_settlement(keys, streams, settlement))
    return Call(SETTLE, streams.keys, args)


def _settlement(keys: Keys, streams: Streams, settlement: Settlement) -> list[Argument]:
    delivery, outcome = settlement.delivery, settlement.outcome
    stream, envelope = delivery.stream, delivery.envelope
    run: Argument = envelope.generation
    if envelope.idempotency:
        run = f"{envelope.generation} {envelope.idempotency}"
    token: list[Argument] = [
        streams.index(stream.key), stream.group, delivery.entry, delivery.count,
        bucket(envelope.id), envelope.id, run,
    ]  # fmt: skip
    if isinstance(outcome, Completed):
        children = settlement.children
        born = _children(keys, streams, children) if children else _NO_CHILDREN
        return ["complete", *token, outcome.result, *born]
    if isinstance(outcome, Buried):
        errors = outcome.errors or envelope.errors
        return ["bury", *token, outcome.reason, outcome.error, _raw(outcome, envelope), errors]
    if isinstance(outcome, Cancelled):
        return ["cancel", *token, outcome.reason]
    if isinstance(outcome, RetryAt):
        where = streams.index(keys.lane(stream.lane))
        delay, uses = f"+{max(0, outcome.delay_ms)}", int(outcome.uses_attempt)
        return ["retry", *token, where, delay, uses, outcome.errors]
    return _release(keys, streams, delivery, outcome, token)


def _raw(outcome: Buried, envelope: Envelope) -> bytes:
    """Return the bytes to keep of an entry that is not a job, whoever buries it; else nothing."""
    if outcome.raw is None and envelope.version == 0:
        return envelope.data
    return outcome.raw or b""


# Of this queue and of others.
_NO_CHILDREN: tuple[Argument, ...] = (0, 0)


def _children(keys: Keys, streams: Streams, jobs: Sequence[NewJob]) -> list[Argument]:
    own = [job for job in jobs if job.lane.queue == keys.queue]
    others = [job for job in jobs if job.lane.queue != keys.queue]
    args: list[Argument] = [len(own)]
    for job in own:
        args.extend(job_fields(keys, streams, job))
    args.append(len(others))
    for job in others:
        args += [job.lane.queue, job.lane.name, bucket(job.id)]
        args += [job.id, job.event, job.data, job.options, job.due, job.guard]
    return args


def _release(
    keys: Keys, streams: Streams, delivery: Delivery, outcome: Released, token: list[Argument]
) -> list[Argument]:
    lane = released_to(delivery, outcome.event)
    where = streams.index(keys.lane(lane))
    return ["release", *token, where, int(delivery.solo), int(delivery.begun)]


def released_to(delivery: Delivery, event: str | None) -> Lane:
    """Return the lane to whose front a delivery is released."""
    lane = delivery.stream.lane
    return lane if event is None else lane.for_event(event, delivery.envelope.version)


def renew(keys: Keys, consumer: str, deliveries: Iterable[Delivery]) -> Call:
    """Return the renewal of deliveries of a queue; answers with 1, 0 or C (cancelled) each."""
    streams = Streams([])
    args: list[Argument] = [consumer, keys.base]
    for delivery in deliveries:
        where = streams.index(delivery.stream.key)
        args += [where, delivery.stream.group, delivery.entry, delivery.count]
    return Call(RENEW, streams.keys, args)


def reclaim(
    stream: Stream,
    consumer: str,
    lease_ms: int,
    cursor: str,
    want: int,
    running: Iterable[str],
    *,
    whose: str | bytes = "",
) -> Call:
    """Return one bounded step of taking over expired deliveries; see reclaim.lua."""
    args: list[Argument] = [
        stream.group, consumer, lease_ms, cursor, RECLAIM_PAGE, want, stream.keys.base, whose,
        *running,
    ]  # fmt: skip
    return Call(RECLAIM, [stream.key, stream.keys.stats, stream.keys.meta], args)


def solo(delivery: Delivery, consumer: str, runs: int | None = None) -> Call:
    """Return the recording of how many solo runs a job has had, or without runs the question.

    Answers with how many were recorded before; -1 and -2 as in mark_solo.lua.
    """
    stream, envelope = delivery.stream, delivery.envelope
    return Call(
        SOLO,
        [stream.key, stream.keys.live(envelope.id)],
        [
            stream.group, consumer, delivery.entry, delivery.count, envelope.id,
            envelope.generation, stream.name, "" if runs is None else runs, stream.keys.base,
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
    """Return the repair of a lane's lost groups.

    Answers with the streams that had lost theirs, and those that did not exist.
    """
    return Call(REPAIR, [keys.meta, keys.lanes, keys.lane(lane)], [lane.name, group])


def audit(keys: Keys) -> Call:
    """Return one step of looking for the jobs that went with a deleted stream.

    Answers with whether there is more to look at, and the ids of the jobs that were dropped.
    """
    bounds = (LIVE_BUCKETS, _AUDIT_BUCKETS, BATCH_ITEMS, BATCH_BYTES)
    return Call(AUDIT, [keys.meta, keys.stats], [keys.base, *bounds])


def retire(keys: Keys, lane: Lane, unused_ms: int) -> Call:
    """Return the removal of an unused lane; answers 1 when it was removed."""
    names = [keys.meta, keys.lanes, keys.lane(lane), keys.front(lane)]
    return Call(RETIRE, names, [keys.base, unused_ms])


def forget(stream: Stream, unseen_ms: int) -> Call:
    """Return the removal of a stream's unseen, idle consumers; answers with their number."""
    return Call(FORGET, [stream.key], [stream.group, unseen_ms])


def promote(keys: Keys, most: int) -> Call:
    """Return one batch of promotion; answers with how many, and ms until the next (-1: none)."""
    return Call(PROMOTE, [keys.delayed, keys.lanes, keys.stats], [keys.base, most, BATCH_BYTES])


class Outbox(NamedTuple):
    """A queue's outbox. Deleted and made again it has another epoch."""

    queue: str
    epoch: Argument


def relay(
    target: Keys,
    source: Outbox,
    posted: Iterable[Sequence[Argument]],
    bounds: DeadLetterBounds = DeadLetterBounds(),
) -> Call:
    """Return the adding of jobs from a queue's outbox.

    Answers with how many are dealt with, and how many of them were buried.

    Each is its entry in the outbox, then lane, live bucket, id, event, data,
    options, due and guard.
    """
    args: list[Argument] = [
        target.base, MAX_LANES, bounds.most, bounds.most_bytes, bounds.max_age_ms, *source,
    ]  # fmt: skip
    for job in posted:
        args.extend(job)
    return Call(RELAY, [target.meta, target.lanes, target.stats, target.relayed], args)


def quarantine(keys: Keys, entry: bytes, raw: bytes, why: str) -> Call:
    """Return the burial of an outbox entry that is not a job; answers 1 when it was there."""
    return Call(QUARANTINE, [keys.outbox, keys.stats], [keys.base, entry, raw, why])


def replay_items(keys: Keys, job_ids: Iterable[str]) -> Call:
    """Return the replay of a batch, still without the batch's number and digest."""
    args: list[Argument] = [MAX_LANES, MAX_EVENT_LANES, BATCH_BYTES]
    for job_id in job_ids:
        args += [bucket(job_id), job_id]
    names = ["", keys.meta, keys.lanes, keys.stats, keys.dead, keys.dead_index]
    return Call(REPLAY, names, args)


def purge(keys: Keys, older_than_ms: int, *, counter: str = "dead_purged") -> Call:
    """Return one step of deleting old dead letters.

    Answers with how many, and whether there may be more.
    """
    names = [keys.dead, keys.dead_index, keys.stats]
    return Call(PURGE, names, [keys.base, older_than_ms, BATCH_ITEMS, BATCH_BYTES, counter])


def inspect(keys: Keys, job_id: str, *, channel: str = "", waiter_ttl_ms: int = 0) -> Call:
    """Return the question for all that is known of a job; see inspect.lua for the answer."""
    names = [keys.live(job_id), keys.result(job_id), keys.dead_index, keys.dead]
    return Call(INSPECT, names, [keys.base, job_id, channel, waiter_ttl_ms])


def cancel(keys: Keys, job_id: str, run: int | None, result_ttl_ms: int) -> Call:
    """Return the cancelling of a job; answers with a CancelOutcome's word and the run."""
    names = [keys.live(job_id), keys.stats]
    return Call(CANCEL, names, [keys.base, job_id, "" if run is None else run, result_ttl_ms])


def pause(keys: Keys, event: str | None, *, pauses: bool) -> Call:
    """Return the pausing or resuming of a queue or one event.

    Answers with the number of the pause state, -1 when too many events are paused.
    """
    what = "pause" if pauses else "resume"
    return Call(PAUSE, [keys.meta], [keys.base, what, event or "", MAX_PAUSED_EVENTS])


def living(keys: Keys, runs: Iterable[tuple[str, int]]) -> Call:
    """Return the question which runs of job ids are live; answers with a 1 or 0 each.

    Where their entries are large it answers for the first of them only, at least one.
    """
    args: list[Argument] = [keys.base, BATCH_BYTES]
    for job_id, run in runs:
        args += [bucket(job_id), job_id, run]
    return Call(LIVING, [keys.meta], args)


def leave(keys: Keys, job_id: str, channel: str) -> Call:
    """Return the taking out of one who waits for a job's end; answers 1 when it was there."""
    return Call(LEAVE, [keys.waiters], [job_id, channel])


def words(answer: bytes) -> list[str]:
    """Return the words of an emit's or a settle's answer, one an item."""
    return answer.decode().split(" ")


def refused_key(word: str) -> BrokenKey:
    """Return the error behind a word T<key>."""
    return BrokenKey(word[1:])


def entries_of(reply: Any) -> list[tuple[str, int, list[bytes], bool]]:
    """Return entry, delivery count, fields and whether it is cancelled of what was reclaimed."""
    return [(entry.decode(), count, fields, bool(over)) for entry, count, fields, over in reply[2:]]
