"""Schedules as Redis keeps them: what each of their scripts is asked, and what a record says.

What a definition means is known above only; here it is bytes with a digest.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from consumers.connections.link import Argument
from consumers.connections.wire import Wire
from consumers.jobs.job import NewJob
from consumers.jobs.lanes import MAX_LANES
from consumers.store.keys import Keys
from consumers.store.scripts import load
from consumers.store.transitions import Call, Streams, job_fields

# Every one is looked at when it is due and listed as a whole: more are a mistake of a loop.
MAX_SCHEDULES = 10_000
# The highest version that Redis' scripts tell from the next, and the last time that has a date.
MAX_VERSION = 2**53 - 1
MAX_TIME = 253_402_300_799_999

_SCHEDULE, _RESCHEDULE = load("register_schedule"), load("change_schedule")
_FIRE = load("fire_schedule")
ALL = (_SCHEDULE, _RESCHEDULE, _FIRE)
_NUMBER = re.compile(rb"[0-9]{1,16}")
# Of what somebody put there, enough to find it.
_MOST_SHOWN = 40


@dataclass(frozen=True, slots=True)
class Record:
    """A schedule in Redis; times in ms since 1970, by Redis' clock.

    slot is the next fire, None when there is none; fired the latest that was dealt with.
    paused says why, None when it is not. source is handler or emit; registered is when a
    worker last said that the definition is in use. last is the id of its latest job; fires
    counts its jobs, skipped its fire times without one. unreadable says what somebody
    spoiled; such a record has a name and a digest only, and no definition.
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
    unreadable: str | None = None

    @classmethod
    def read(cls, name: str, flat: Sequence[bytes]) -> Record | None:
        """Return the record in an answer of HGETALL; None when there is no such schedule."""
        pairs = zip(flat[::2], flat[1::2], strict=True)
        found = {key.decode(errors="replace"): value for key, value in pairs}
        if "digest" not in found:
            return None
        try:
            return cls._read(name, found)
        except ValueError as error:
            digest = found["digest"].decode(errors="replace")
            return cls.spoiled(name, str(error), digest=digest)

    @classmethod
    def spoiled(cls, name: str, why: str, *, digest: str = "") -> Record:
        """Return the record of a schedule that cannot be read, and why."""
        return cls(
            name, digest, version=0, definition=b"", source="", slot=None, fired=None,
            paused=None, registered=0, last=None, fires=0, skipped=0, unreadable=why,
        )  # fmt: skip

    @classmethod
    def _read(cls, name: str, found: Mapping[str, bytes]) -> Record:
        return cls(
            name=name,
            digest=_text(found, "digest") or "",
            version=_number(found, "version", MAX_VERSION) or 0,
            definition=found.get("definition", b""),
            source=_text(found, "source") or "",
            slot=_number(found, "slot", MAX_TIME),
            fired=_number(found, "fired", MAX_TIME),
            paused=_text(found, "paused"),
            registered=_time(found, "registered"),
            last=_text(found, "last"),
            fires=_count(found, "fires"),
            skipped=_count(found, "skipped"),
        )


def _text(found: Mapping[str, bytes], field: str) -> str | None:
    value = found.get(field)
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError:
        raise ValueError(f"its {field} {value!r:.{_MOST_SHOWN}} is no text") from None


def _number(found: Mapping[str, bytes], field: str, most: int) -> int | None:
    value = found.get(field)
    if not value:
        return None
    if not _NUMBER.fullmatch(value) or int(value) > most:
        shown = f"{value!r:.{_MOST_SHOWN}}"
        raise ValueError(f"its {field} {shown} is no whole number of at most {most:,}")
    return int(value)


def _time(found: Mapping[str, bytes], field: str) -> int:
    at = _number(found, field, MAX_TIME)
    if at is None:
        raise ValueError(f"its {field} is missing")
    return at


def _count(found: Mapping[str, bytes], field: str) -> int:
    """Return a counter; it only informs, so a spoiled one spoils nothing else."""
    value = found.get(field, b"")
    return int(value) if _NUMBER.fullmatch(value) else 0


async def record(wire: Wire, keys: Keys, name: str) -> Record | None:
    """Return a schedule; None when there is none of this name."""
    return Record.read(name, await wire.send("HGETALL", keys.schedule(name)))


async def names(wire: Wire, keys: Keys) -> list[str]:
    """Return the names of a queue's schedules, paused ones too, sorted."""
    found = await wire.send("SMEMBERS", keys.schedule_names)
    return sorted(name.decode(errors="replace") for name in found)


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

    See register_schedule.lua for the words.
    """
    return Call(
        _SCHEDULE,
        [keys.meta, keys.schedules, keys.schedule(name), keys.schedule_names],
        [
            keys.base, name, digest, version, definition, _slot(slot), source,
            int(not confirm_only), MAX_SCHEDULES,
        ],
    )  # fmt: skip


def pause(
    keys: Keys, name: str, why: str, *, digest: str = "", registered: int | None = None
) -> Call:
    """Return the pausing of a schedule, only while it has that digest and registration.

    See change_schedule.lua for the words it answers.
    """
    return _reschedule(keys, name, "pause", why, digest, _slot(registered))


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


def _reschedule(
    keys: Keys, name: str, what: str, given: str, digest: str, registered: str = ""
) -> Call:
    return Call(
        _RESCHEDULE,
        [keys.schedules, keys.schedule(name), keys.schedule_names],
        [keys.base, name, what, given, digest, registered],
    )


def _slot(slot: int | None) -> str:
    return "" if slot is None else str(slot)
