"""Schedules as Redis keeps them: what each of their scripts is asked, and what a record says.

What a definition means is known above only; here it is bytes with a digest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from consumers.job import NewJob
from consumers.keys import Keys
from consumers.lanes import MAX_LANES
from consumers.scripts import Argument, load
from consumers.transitions import Call, Streams, job_fields
from consumers.wire import Wire

# Every one is looked at when it is due and listed as a whole: more are a mistake of a loop.
MAX_SCHEDULES = 10_000

_SCHEDULE, _RESCHEDULE, _FIRE = load("schedule"), load("reschedule"), load("fire")
ALL = (_SCHEDULE, _RESCHEDULE, _FIRE)


@dataclass(frozen=True, slots=True)
class Record:
    """A schedule in Redis; times in ms since 1970, by Redis' clock.

    slot is the next fire, None when there is none; fired the latest that was dealt with.
    paused says why, None when it is not. source is handler or emit; registered is when a
    worker last said that the definition is in use. last is the id of its latest job; fires
    counts its jobs, skipped its fire times without one.
    """

    name: str
    digest: str
    version: int
    definition: bytes
    source: str
    slot: int | None
    fired: int | None
    paused: str | None
    registered: int
    last: str | None
    fires: int
    skipped: int

    @classmethod
    def read(cls, name: str, flat: Sequence[bytes]) -> Record | None:
        """Return the record in an answer of HGETALL; None when there is no such schedule."""
        found = {key.decode(): value for key, value in zip(flat[::2], flat[1::2], strict=True)}
        if "digest" not in found:
            return None
        text = {key: value.decode() for key, value in found.items() if key != "definition"}
        return cls(
            name=name,
            digest=text["digest"],
            version=int(text.get("version", 0)),
            definition=found.get("definition", b""),
            source=text.get("source", ""),
            slot=_number(text.get("slot")),
            fired=_number(text.get("fired")),
            paused=text.get("paused"),
            registered=int(text.get("registered", 0)),
            last=text.get("last"),
            fires=int(text.get("fires", 0)),
            skipped=int(text.get("skipped", 0)),
        )


def _number(text: str | None) -> int | None:
    return int(text) if text else None


async def record(wire: Wire, keys: Keys, name: str) -> Record | None:
    """Return a schedule; None when there is none of this name."""
    return Record.read(name, await wire.send("HGETALL", keys.schedule(name)))


async def names(wire: Wire, keys: Keys) -> list[str]:
    """Return the names of a queue's schedules, paused ones too, sorted."""
    return sorted(name.decode() for name in await wire.send("SMEMBERS", keys.schedule_names))


def register(
    keys: Keys,
    name: str,
    *,
    digest: str,
    version: int,
    definition: bytes,
    slot: int | None,
    source: str,
    confirm_only: bool = False,
) -> Call:
    """Return the registering of a definition; answers with a word and the next fire.

    See schedule.lua for the words.
    """
    return Call(
        _SCHEDULE,
        [keys.meta, keys.schedules, keys.schedule(name), keys.schedule_names],
        [
            keys.base, name, digest, version, definition, _slot(slot), source,
            int(not confirm_only), MAX_SCHEDULES,
        ],
    )  # fmt: skip


def pause(keys: Keys, name: str, why: str, *, digest: str = "") -> Call:
    """Return the pausing of a schedule; answers 1, or 0 when there is none (with that digest)."""
    return _reschedule(keys, name, "pause", why, digest)


def resume(keys: Keys, name: str, slot: int | None, *, digest: str) -> Call:
    """Return the resuming of a schedule with its next fire; answers like pause."""
    return _reschedule(keys, name, "resume", _slot(slot), digest)


def remove(keys: Keys, name: str) -> Call:
    """Return the removal of a schedule; answers like pause."""
    return _reschedule(keys, name, "remove", "", "")


def fire(
    keys: Keys,
    known: Record,
    *,
    latest: int,
    following: int | None,
    overlap: str,
    passed_over: int,
    jobs: Sequence[NewJob],
) -> Call:
    """Return the firing of a schedule; answers with a word and how many jobs were added.

    known is what the rest was computed from. The fire times from known.slot to latest are
    dealt with: jobs are for some of them, passed_over is how many get none; following is
    the next after latest.
    """
    streams = Streams(
        [keys.meta, keys.lanes, keys.stats, keys.schedules, keys.schedule(known.name)]
    )
    args: list[Argument] = [
        keys.base, MAX_LANES, known.name, known.digest, _slot(known.slot), latest,
        _slot(following), overlap, passed_over,
    ]  # fmt: skip
    for job in jobs:
        args.extend(job_fields(keys, streams, job))
    return Call(_FIRE, streams.keys, args)


def _reschedule(keys: Keys, name: str, what: str, given: str, digest: str) -> Call:
    return Call(
        _RESCHEDULE,
        [keys.schedules, keys.schedule(name), keys.schedule_names],
        [keys.base, name, what, given, digest],
    )


def _slot(slot: int | None) -> str:
    return "" if slot is None else str(slot)
