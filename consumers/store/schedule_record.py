"""What Redis keeps of a schedule, and what of it somebody spoiled."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

# The highest version that Redis' scripts tell from the next, and the last time that has a date.
MAX_VERSION = 2**53 - 1
MAX_TIME = 253_402_300_799_999

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
        raise ValueError(f"its {field} {value!r:.{_MOST_SHOWN}} is not text") from None


def _number(found: Mapping[str, bytes], field: str, most: int) -> int | None:
    value = found.get(field)
    if not value:
        return None
    if not _NUMBER.fullmatch(value) or int(value) > most:
        shown = f"{value!r:.{_MOST_SHOWN}}"
        raise ValueError(f"its {field} {shown} is not a whole number of at most {most:,}")
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
