"""Ask for outcomes to be recorded, each in one step with what follows from it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from consumers.connections.link import Argument
from consumers.jobs.bounds import DeadLetterBounds
from consumers.jobs.envelope import Envelope, NewJob
from consumers.jobs.lanes import MAX_EVENT_LANES, MAX_LANES, Lane
from consumers.jobs.outcome import Buried, Cancelled, Completed, Outcome, Ran, Released, RetryAt
from consumers.store.delivery import Delivery
from consumers.store.emitting import job_fields
from consumers.store.keys import Keys, bucket
from consumers.store.scripts import Call, load
from consumers.store.steps import Streams

SETTLE = load("settle")


class Settlement(NamedTuple):
    """A delivery, its outcome, and the jobs to add with it when it is completed.

    ran is how the run went that it follows from, None for a job that was not run.
    """

    delivery: Delivery
    outcome: Outcome
    children: Sequence[NewJob] = ()
    ran: Ran | None = None

    def instead(self, outcome: Outcome) -> Settlement:
        """Return it with another outcome, and so without its children."""
        return self._replace(outcome=outcome, children=())


class Settled(NamedTuple):
    """A settlement that Redis has answered; not recorded: the delivery was not ours any more."""

    settlement: Settlement
    recorded: bool


def bytes_of(settlement: Settlement) -> int:
    """Return how many bytes Redis has to move for it, about."""
    outcome = settlement.outcome
    if isinstance(outcome, Completed):
        return len(outcome.result) + sum(len(child.data) for child in settlement.children)
    if isinstance(outcome, Cancelled):
        return len(outcome.reason)
    size = len(settlement.delivery.envelope.data)
    if isinstance(outcome, RetryAt):
        size += len(outcome.errors)
    if isinstance(outcome, Buried):
        size += len(outcome.error) + len(outcome.errors) + len(outcome.raw or b"")
    return size


def settle_items(
    keys: Keys,
    consumer: str,
    result_ttl_ms: int,
    settlements: Iterable[Settlement],
    bounds: DeadLetterBounds = DeadLetterBounds(),  # noqa: B008 - it is frozen
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
    if envelope.tail:
        run = f"{envelope.generation}{envelope.tail}"
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
        delay = f"+{max(0, outcome.delay_ms)}"
        uses = 1 if outcome.uses_attempt else 0 if delivery.begun else _NEITHER
        return ["retry", *token, where, delay, uses, outcome.errors]
    return _release(keys, streams, delivery, outcome, token)


def _raw(outcome: Buried, envelope: Envelope) -> bytes:
    """Return the bytes to keep of an entry that is not a job, whoever buries it; else nothing."""
    if outcome.raw is None and envelope.version == 0:
        return envelope.data
    return outcome.raw or b""


# A retry that uses no attempt, of a job whose handler was not called.
_NEITHER = 2
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
