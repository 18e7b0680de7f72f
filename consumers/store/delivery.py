"""A delivery: an entry that Redis handed to this consumer, and the proof that it did."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from functools import lru_cache

from pydantic_core import from_json

from consumers.jobs.job import ENVELOPE_VERSION, Envelope
from consumers.jobs.lanes import Lane
from consumers.store.keys import Keys

_FIELDS = [b"head", b"id", b"event", b"data", b"options"]
# A sixth field is there once the job has failed.
_ERRORS = b"errors"
# Six numbers; a newer version may add more behind them. Scripts read the same
# digits, so what int() takes besides them is foreign.
_HEAD = re.compile(rb"([1-9]\d{0,8}):(\d{1,15}):(\d{1,15}):(\d{1,9}):(\d{1,9}):(\d{1,9})(:.*)?")
_IDEMPOTENCY = re.compile(rb":i=([\w-]+)")
# Written when a job that has begun is snoozed, handed back or replayed.
_BEGUN = re.compile(rb":r=1(?::|$)")
_NO_CLAUSES = ("", False)
# Mostly of 0 or 1, and every entry has four of these.
_count = lru_cache(maxsize=64)(int)
# A script that hands an entry on passes its fields as arguments, at most some
# thousands; no version will have this many.
_MOST_FIELDS = 1000
# Raw bytes of a foreign entry kept in its dead letter.
RAW_LIMIT = 64 * 1024
SOLO_AFTER_CRASHES = 2


class Stream:
    """One stream that is read: a lane or a lane's front, under its key in Redis."""

    __slots__ = ("front", "gave", "group", "key", "keys", "lane", "looked")

    def __init__(self, keys: Keys, lane: Lane, group: str, *, front: bool) -> None:
        self.keys = keys
        self.lane = lane
        self.group = group
        self.front = front
        self.key = keys.front(lane) if front else keys.lane(lane)
        # Whether it gave anything when it was read last, and when that was (monotonic).
        self.gave, self.looked = False, -math.inf

    @property
    def name(self) -> str:
        """The stream's name as in the queue's index of live jobs."""
        return f"{self.lane.name}:front" if self.front else self.lane.name


class Delivery:
    """An entry in our hands; (entry, consumer, count) is its token.

    renewed_at is the monotonic time at which the last request that renewed the
    lease was sent: the lease surely holds until then plus the lease.
    """

    __slots__ = (
        "begun", "cancelled", "count", "entry", "envelope", "given_up", "key", "renewed_at", "solo",
        "stream",
    )  # fmt: skip

    def __init__(
        self, stream: Stream, entry: str, count: int, envelope: Envelope, renewed_at: float
    ) -> None:
        self.stream = stream
        self.entry = entry
        self.count = count
        self.envelope = envelope
        self.renewed_at = renewed_at
        # What identifies the entry in the whole of Redis.
        self.key = (stream.key, entry)
        self.solo = False
        # Set before the handler is called; middleware may call it again.
        self.begun = False
        # Set when somebody cancelled the job: whatever is recorded, it ends as cancelled.
        self.cancelled = False
        # Set when this run no longer decides the outcome: lost, or already released.
        self.given_up = False

    @property
    def crashes(self) -> int:
        """How many deliveries of this job ended without an outcome."""
        return self.envelope.crashes + self.count - 1


def read_envelope(fields: Sequence[bytes]) -> Envelope | None:
    """Return the envelope in an entry's flat fields; None when it is not one of ours.

    Of an envelope newer than this version only id, event and the first numbers
    are relied upon: these stay where they are in every version.
    """
    if fields[0:10:2] != _FIELDS or len(fields) > _MOST_FIELDS:
        return None
    head = _HEAD.fullmatch(fields[1])
    if head is None:
        return None
    try:
        job_id, event = fields[3].decode("ascii"), fields[5].decode("ascii")
    except ValueError:
        return None
    version, generation, created_at, failures, deliveries, crashes, more = head.groups()
    errors = b""
    if len(fields) != 10:
        errors = fields[11] if len(fields) == 12 and fields[10] == _ERRORS else b""
        if _count(version) <= ENVELOPE_VERSION and not (errors and _is_list(errors)):
            return None
    key, begun = _NO_CLAUSES if more is None else _clauses(more)
    return Envelope._make((
        job_id, event, fields[7], fields[9], _count(version), int(generation), int(created_at),
        _count(failures), _count(deliveries), _count(crashes), errors, key, begun,
    ))  # fmt: skip


def _is_list(errors: bytes) -> bool:
    """Whether the last errors can be read."""
    try:
        return isinstance(from_json(errors), list)
    except ValueError:
        return False


def _clauses(more: bytes) -> tuple[str, bool]:
    """Return the digest of an idempotency key, and whether the job has begun."""
    key = _IDEMPOTENCY.search(more)
    return "" if key is None else key[1].decode(), _BEGUN.search(more) is not None


def foreign_envelope(entry: str, fields: Sequence[bytes]) -> Envelope:
    """Return a stand-in for an entry that is not a job; data holds its raw bytes, capped.

    The fields are kept as netstrings (``<length>:<bytes>,``), which is exact for
    whatever bytes they hold.
    """
    raw = bytearray()
    for field in fields:
        if len(raw) >= RAW_LIMIT:
            break
        raw += b"%d:%b," % (len(field), field[:RAW_LIMIT])
    return Envelope(f"foreign:{entry}", "", bytes(raw[:RAW_LIMIT]), b"", 0, 0, 0, 0, 0, 0)
