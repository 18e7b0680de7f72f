"""What an entry of a lane holds of a job, as producers make it and as it is read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from pydantic_core import from_json

from consumers.jobs.clauses import begins_first, head_values, idempotency_in
from consumers.jobs.lanes import Lane

# The version of the fields in an entry. A worker that meets a higher one keeps
# the job for a newer worker (G14): in a rolling deploy, workers of the version before run nothing
# of what has a new number. So a number is for what must not be settled unknown, and none was spent
# on packing an entry into one field: docs/performance.md has what that would save.
ENVELOPE_VERSION = 1
_FIELDS = [b"head", b"id", b"event", b"data", b"options"]
# A sixth field is there once the job has failed.
_ERRORS = b"errors"
# A script that hands an entry on passes its fields as arguments, at most some
# thousands; no version will have this many.
_MOST_FIELDS = 1000
# Raw bytes of a foreign entry kept in its dead letter.
RAW_LIMIT = 64 * 1024


class NewJob(NamedTuple):
    """A job that is ready to be emitted: checked, encoded, with its lane.

    - `id`, `event`: the id of the job and the event it is for.
    - `data`: the payload as JSON bytes.
    - `lane`: the stream that it goes to.
    - `options`: its options as JSON bytes; empty if all have their defaults.
    - `due`: when it may start, by Redis' clock: empty for at once, ms since 1970, or `+<ms>` after
      Redis has received it.
    - `guard`: a condition checked before it is added, such as a debounce; empty for none.
    """

    id: str
    event: str
    data: bytes
    lane: Lane
    options: bytes = b""
    due: str = ""
    guard: str = ""


@dataclass(slots=True)
class Envelope:
    """What an entry of a lane holds.

    created_at is in ms of Redis' clock. failures, deliveries and crashes are
    the counts from before this entry was added: they survive re-adding.

    It is no tuple because a job's fields are read by name some twenty times, which is several
    times as fast with slots. Nothing changes it.
    """

    id: str
    event: str
    data: bytes
    options: bytes
    version: int
    generation: int
    created_at: int
    failures: int
    deliveries: int
    crashes: int
    # JSON list of its last errors, empty when it has not failed.
    errors: bytes = b""
    # The clauses of its head that an end must know, see clauses.
    tail: str = ""
    # When it began first, if it did before this entry was added: ms, 1 where nobody knows
    # that. What failed or crashed has begun in any case.
    first_started: int = 0

    @property
    def idempotency(self) -> str:
        """Digest of its idempotency key, empty when it has none."""
        return idempotency_in(self.tail)

    @property
    def begins_first(self) -> bool:
        """Whether the start of this entry's delivery is the job's first; see clauses."""
        return begins_first(self.failures, self.deliveries, self.first_started)


def read_envelope(fields: Sequence[bytes]) -> Envelope | None:
    """Return the envelope in an entry's flat fields; None when it is not one of ours.

    Of an envelope newer than this version only id, event and the first numbers
    are relied upon: these stay where they are in every version.
    """
    if fields[0:10:2] != _FIELDS or len(fields) > _MOST_FIELDS:
        return None
    head = head_values(fields[1])
    if head is None:
        return None
    try:
        job_id, event = fields[3].decode("ascii"), fields[5].decode("ascii")
    except ValueError:
        return None
    errors = b""
    if len(fields) != 10:
        errors = fields[11] if len(fields) == 12 and fields[10] == _ERRORS else b""
        if head[0] <= ENVELOPE_VERSION and not (errors and _is_list(errors)):
            return None
    version, generation, created_at, failures, deliveries, crashes, tail, first_started = head
    return Envelope(
        job_id, event, fields[7], fields[9], version, generation, created_at, failures,
        deliveries, crashes, errors, tail, first_started,
    )  # fmt: skip


def _is_list(errors: bytes) -> bool:
    """Whether the last errors can be read."""
    try:
        return isinstance(from_json(errors), list)
    except ValueError:
        return False


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
