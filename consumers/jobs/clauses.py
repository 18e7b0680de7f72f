"""Clauses: what a job carries beside its fields. Nothing else reads a head or a guard.

include/clauses.lua is the same for the scripts; it says where they stand and what each means.
"""

from __future__ import annotations

import re
from typing import NamedTuple

# Six numbers; a newer version may add more behind them. Scripts read the same
# digits, so what int() takes besides them is foreign.
_HEAD = re.compile(rb"([1-9]\d{0,8}):(\d{1,15}):(\d{1,15}):(\d{1,9}):(\d{1,9}):(\d{1,9})(:.*)?")
# Written when a job that has begun goes back, and when it is replayed.
_BEGUN = re.compile(rb":r=1(?::|$)")
_FIRST_START = re.compile(rb":a=(\d{1,15})(?::|$)")
# What whoever ends the job must know: flow, ordered key and idempotency key. A job with one of
# the first two has a version that this one leaves to newer workers.
_OF_THE_END = re.compile(rb":[foi]=[^:]+")
_IDEMPOTENCY = re.compile(r":i=([\w-]+)", re.ASCII)
_NO_CLAUSES = ("", 0)
# What most heads are: of the first version, of a job that has neither run nor failed.
_FRESH = re.compile(rb"1:(\d{1,15}):(\d{1,15}):0:0:0")
_Values = tuple[int, int, int, int, int, int, str, int]

_CLAUSE = re.compile(r"[a-z]( [^:; ]+)+", re.ASCII)
# Lua knows the digits and letters of ASCII only.
_GUARD = re.compile(r"i [\w-]+|[tl] [\w-]+ \d{1,14} \d{1,14}", re.ASCII)
_GUARDS = "itl"


class Head(NamedTuple):
    """The head of an entry: six numbers and what its clauses say; tail is verbatim.

    created_at is in ms of Redis' clock.
    """

    version: int
    generation: int
    created_at: int
    failures: int
    deliveries: int
    crashes: int
    # The clauses that an end must know.
    tail: str
    # When it began first (ms), 1 where nobody knows that, 0 before it has begun.
    first_started: int

    @property
    def begins_first(self) -> bool:
        """Whether the next start is its first, as begins_first below says."""
        return begins_first(self.failures, self.deliveries, self.first_started)


def read_head(text: bytes) -> Head | None:
    """Return what a head says; None when it is none of ours."""
    values = head_values(text)
    return None if values is None else Head._make(values)


def head_values(text: bytes) -> _Values | None:
    """Return what a head says as a plain tuple, which is all that most entries are read for."""
    fresh = _FRESH.fullmatch(text)
    if fresh is not None:
        generation, created_at = fresh.groups()
        return 1, int(generation), int(created_at), 0, 0, 0, "", 0
    return any_values(text)


def any_values(text: bytes) -> _Values | None:
    """Return the same without the shortcut: of a head in whatever form."""
    head = _HEAD.fullmatch(text)
    if head is None:
        return None
    version, generation, created_at, failures, deliveries, crashes, more = head.groups()
    tail, first_started = _NO_CLAUSES if more is None else _said_in(more, int(created_at))
    return (
        int(version), int(generation), int(created_at),
        int(failures), int(deliveries), int(crashes), tail, first_started,
    )  # fmt: skip


def _said_in(more: bytes, created_at: int) -> tuple[str, int]:
    tail = b"".join(_OF_THE_END.findall(more)).decode(errors="replace")
    if _BEGUN.search(more) is None:
        return tail, 0
    found = _FIRST_START.search(more)
    started = 0 if found is None else int(found[1])
    # What is earlier is of the run before a replay: a version that knows no a has left it there.
    return tail, started if started >= created_at and started > 1 else 1


def begins_first(failures: int, deliveries: int, first_started: int) -> bool:
    """Whether the next start of a job is its first, by its head; a run that crashed is none.

    A replay has begun without a delivery. Of what a version has run that did not write when,
    nobody knows its first start, and the next one is another.
    """
    return not failures and (first_started == 0 or (first_started == 1 and not deliveries))


def idempotency_in(tail: str) -> str:
    """Return the digest of the idempotency key; empty when there is none."""
    key = _IDEMPOTENCY.search(tail)
    return "" if key is None else key[1]


def is_known(field: str) -> bool:
    """Whether this version knows all that a job's field of clauses asks.

    Raises ValueError when they are no clauses, of whatever version: somebody else's value.
    """
    clauses = field.split(";") if field else []
    if not all(map(_is_clause, clauses)):
        raise ValueError(f"{field!r} is not a guard")
    return len(clauses) < 2 and all(clause[0] in _GUARDS for clause in clauses)


def _is_clause(text: str) -> bool:
    return bool(_GUARD.fullmatch(text) if text[:1] in _GUARDS else _CLAUSE.fullmatch(text))
