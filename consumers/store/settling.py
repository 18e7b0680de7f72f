"""Ask for outcomes to be recorded, each in one step with what follows from it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from consumers.connections.link import Argument
from consumers.jobs.bounds import DeadLetterBounds
from consumers.jobs.envelope import Envelope, NewJob
from consumers.jobs.lanes import MAX_EVENT_LANES, MAX_LANES, Lane
from consumers.jobs.outcome import Buried, Cancelled, Completed, Outcome, Ran, RetryAt
from consumers.store.delivery import Delivery, Stream
from consumers.store.emitting import job_fields
from consumers.store.facts import facts_of
from consumers.store.keys import Keys, bucket, bucket_name
from consumers.store.packing import packed
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
    # By name: to unpack a named tuple takes longer than all of this.
    delivery, outcome, children = settlement.delivery, settlement.outcome, settlement.children
    envelope = delivery.envelope
    if isinstance(outcome, Completed):
        size = len(outcome.result) + len(envelope.errors)
        if children:
            size += sum(len(child.data) for child in children)
        return size + len(envelope.data) if delivery.keeps_data else size
    if isinstance(outcome, Cancelled):
        size = len(outcome.reason) + len(envelope.errors)
        return size + len(envelope.data) if delivery.keeps_data else size
    size = len(envelope.data)
    if isinstance(outcome, RetryAt):
        size += len(outcome.errors)
    if isinstance(outcome, Buried):
        size += len(outcome.error) + len(outcome.errors) + len(outcome.raw or b"")
    return size


def by_stream(settlements: list[Settlement]) -> list[Settlement]:
    """Return them with those of each stream together, in their order.

    Of completed jobs that follow each other the script is sent, and asks, less.
    """
    if len({it.delivery.stream.key for it in settlements}) > 1:
        settlements.sort(key=lambda it: it.delivery.stream.key)
    return settlements


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
    for section in _sections(settlements):
        if isinstance(section, Settlement):
            args += _single(keys, streams, section, keeps=result_ttl_ms > 0)
        else:
            args += _plain(streams, section, keeps=result_ttl_ms > 0)
    return Call(SETTLE, streams.keys, args)


def _sections(settlements: Iterable[Settlement]) -> Iterator[Settlement | list[Settlement]]:
    """Yield them in their order; those of completed jobs without children in runs of one share."""
    run = list[Settlement]()
    share: tuple[Stream, int] | None = None
    for settlement in settlements:
        delivery = settlement.delivery
        is_plain = isinstance(settlement.outcome, Completed) and not settlement.children
        if run and not (is_plain and share == (delivery.stream, delivery.count)):
            yield run
            run = []
        if is_plain:
            share = (delivery.stream, delivery.count)
            run.append(settlement)
        else:
            yield settlement
    if run:
        yield run


def _plain(streams: Streams, section: Sequence[Settlement], *, keeps: bool) -> list[Argument]:
    """Return completed jobs of one share as settle.lua takes them together."""
    delivery = section[0].delivery
    first, last = _range_of([it.delivery.entry for it in section])
    its: list[str | bytes] = []
    for settlement in section:
        delivery, outcome = settlement.delivery, settlement.outcome
        envelope = delivery.envelope
        told = facts_of(delivery, outcome) if keeps else b""
        if isinstance(told, str):
            told = told.encode()
        its += (
            delivery.entry, bucket_name(envelope.id), envelope.id, _asked(envelope),
            b"%b %b" % (told, outcome.result),  # type: ignore[union-attr]
        )  # fmt: skip
    return [
        "plain", streams.index(delivery.stream.key), delivery.stream.group, delivery.count,
        first, last, packed(its),
    ]  # fmt: skip


def _range_of(entries: Sequence[str]) -> tuple[str, str]:
    """Return the bounds of a range that holds the entries; cheap for many rather than narrow."""
    if len(entries) == 1:
        return entries[0], entries[0]
    # As texts only their ms have the order of ids. Where these are not of one length, as somebody
    # else's may be, the script asks for each entry that the range leaves out.
    return min(entries).partition("-")[0], max(entries).partition("-")[0]


def _asked(envelope: Envelope) -> str:
    """Return the generation, with the clauses behind it that an end must know."""
    return f"{envelope.generation}{envelope.tail}"


def _single(keys: Keys, streams: Streams, settlement: Settlement, *, keeps: bool) -> list[Argument]:
    delivery, outcome, _, _ = settlement
    stream, envelope = delivery.stream, delivery.envelope
    return [
        _kind(outcome), streams.index(stream.key), stream.group, delivery.entry, delivery.count,
        bucket(envelope.id), envelope.id, _asked(envelope),
        facts_of(delivery, outcome) if keeps else "",
        *_more(keys, streams, settlement),
    ]  # fmt: skip


def _more(keys: Keys, streams: Streams, settlement: Settlement) -> list[Argument]:
    """Return what an outcome has behind that which all have."""
    delivery, outcome, children, _ = settlement
    envelope, lane = delivery.envelope, delivery.stream.lane
    if isinstance(outcome, Completed):
        return [outcome.result, *_children(keys, streams, children)]
    if isinstance(outcome, Buried):
        errors = outcome.errors or envelope.errors
        return [outcome.reason, outcome.error, _raw(outcome, envelope), errors]
    if isinstance(outcome, Cancelled):
        return [outcome.reason]
    if isinstance(outcome, RetryAt):
        where = streams.index(keys.lane(lane))
        delay, uses = f"+{max(0, outcome.delay_ms)}", int(outcome.uses_attempt)
        return [where, delay, uses, outcome.errors, delivery.first_started]
    where = streams.index(keys.lane(released_to(delivery, outcome.event)))
    return [where, int(delivery.solo), delivery.first_started]


def _kind(outcome: Outcome) -> str:
    """Return the name of the file in include/outcomes that writes an outcome."""
    if isinstance(outcome, Completed):
        return "complete"
    if isinstance(outcome, Buried):
        return "bury"
    if isinstance(outcome, Cancelled):
        return "cancel"
    return "retry" if isinstance(outcome, RetryAt) else "release"


def _raw(outcome: Buried, envelope: Envelope) -> bytes:
    """Return the bytes to keep of an entry that is not a job, whoever buries it; else nothing."""
    if outcome.raw is None and envelope.version == 0:
        return envelope.data
    return outcome.raw or b""


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


def released_to(delivery: Delivery, event: str | None) -> Lane:
    """Return the lane to whose front a delivery is released."""
    lane = delivery.stream.lane
    return lane if event is None else lane.for_event(event, delivery.envelope.version)
