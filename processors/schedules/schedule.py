"""A schedule: which job is emitted when, and what a worker that comes late does about it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

from consumers.jobs.envelope import NewJob
from consumers.jobs.lanes import Lane
from consumers.jobs.names import check_name
from consumers.store.schedule_record import MAX_VERSION
from processors.schedules.pattern import InvalidSchedule
from processors.schedules.spec import Spec, spec_of

# What becomes of fire times that passed while no worker lived.
Missed = Literal["skip", "one", "all"]
# What becomes of a fire while the job of an earlier one lives.
Overlap = Literal["allow", "skip", "queue"]

# What is late by no more was not missed, whatever the policy: a loop was busy, a hint was lost.
IN_TIME_MS = 10_000
# The latest fire is late by no more after a deploy: "skip" fires it.
GRACE_MS = 60_000
# "all" catches up on the latest ones; what is left out is counted.
MOST_CAUGHT_UP = 100
# What one fire may add at a time; the rest follows at once.
_MOST_BYTES = 1024 * 1024
_MOST_COUNTED = 1000


class Fires(NamedTuple):
    """What is due of a schedule, times in ms since 1970.

    chosen get a job each, passed_over (a number, at most 1,000 are counted) get none;
    latest is the last of them all, following the next after it.
    """

    chosen: list[int]
    passed_over: int
    latest: int
    following: int | None


@dataclass(frozen=True, slots=True)
class Schedule:
    """Emits a job at each fire time of spec; exactly one for each, however many workers live.

    data and options are JSON, as in NewJob. Of two definitions of one name that of the
    higher version counts, and of equals the one that was registered last.
    """

    name: str
    spec: Spec
    event: str
    lane: Lane
    data: bytes = b"{}"
    options: bytes = b""
    missed: Missed = "one"
    overlap: Overlap = "allow"
    version: int = 0

    def __post_init__(self) -> None:
        check_name("schedule", self.name)
        check_name("event", self.event)
        _check_choice("missed", self.missed, get_args(Missed))
        _check_choice("overlap", self.overlap, get_args(Overlap))
        if type(self.version) is not int or not 0 <= self.version <= MAX_VERSION:
            allowed = f"give a whole number of at least 0 and at most {MAX_VERSION:,} (2**53 - 1)"
            raise InvalidSchedule("version", self.version, allowed)

    @property
    def definition(self) -> bytes:
        """What of it is kept in Redis, for whichever worker fires it: JSON."""
        return json.dumps(
            {
                "pattern": self.spec.pattern,
                "tz": self.spec.tz,
                "event": self.event,
                "lane": self.lane.name,
                "data": self.data.decode(),
                "options": self.options.decode(),
                "missed": self.missed,
                "overlap": self.overlap,
            },
            sort_keys=True,
        ).encode()

    @property
    def digest(self) -> str:
        """What tells this definition from others."""
        return hashlib.blake2b(self.definition, digest_size=16).hexdigest()

    @classmethod
    def read(cls, queue: str, name: str, definition: bytes, version: int = 0) -> Schedule:
        """Return the schedule of a definition; ValueError when it is none that we know."""
        try:
            found: dict[str, Any] = json.loads(definition)
            return cls(
                name=name,
                spec=spec_of(found["pattern"], found["tz"]),
                event=found["event"],
                lane=Lane.parse(queue, found["lane"]),
                data=found["data"].encode(),
                options=found["options"].encode(),
                missed=found["missed"],
                overlap=found["overlap"],
                version=version,
            )
        except (KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ValueError(f"the definition of schedule {name!r} has no {error}") from error

    def job(self, fire_ms: int) -> NewJob:
        """Return the job of a fire time; its id is the same wherever it is made."""
        return NewJob(fire_id(self.name, fire_ms), self.event, self.data, self.lane, self.options)

    def fires(self, slot: int, now_ms: int) -> Fires:
        """Return what is due at now_ms when slot is the first that was not dealt with.

        When not all of it may be added at once, the next look goes on behind what was chosen.
        """
        due = self.spec.missed(slot - 1, now_ms, _MOST_COUNTED) or [slot]
        wanted = self._wanted(due, now_ms)
        # Where runs must not overlap, each fire has to see the run of the one before.
        at_once = 1 if self.overlap != "allow" else _MOST_BYTES // max(1, len(self.data))
        chosen = wanted[: max(1, at_once)]
        latest = chosen[-1] if chosen else due[-1]
        return Fires(chosen, len(due) - len(wanted), latest, self.spec.next_after(latest))

    def _wanted(self, due: list[int], now_ms: int) -> list[int]:
        """Return which of them get a job, always the latest so many.

        Those in time stand for the ones that were missed before them.
        """
        if self.missed == "all":
            return due[-MOST_CAUGHT_UP:]
        in_time = [fire_ms for fire_ms in due if now_ms - fire_ms <= IN_TIME_MS]
        if not in_time and (self.missed == "one" or now_ms - due[-1] <= GRACE_MS):
            return due[-1:]
        return in_time


def fire_id(name: str, fire_ms: int) -> str:
    """Return the id of the job of a fire time."""
    return f"cron:{name}:{fire_ms}"


def fire_of(job_id: str) -> tuple[str, int] | None:
    """Return schedule and fire time (ms) of such an id; None for another one."""
    kind, _, rest = job_id.partition(":")
    name, _, fire_ms = rest.rpartition(":")
    return (name, int(fire_ms)) if kind == "cron" and name and fire_ms.isdigit() else None


def _check_choice(what: str, given: object, allowed: tuple[str, ...]) -> None:
    if given not in allowed:
        raise InvalidSchedule(what, given, f"give one of {', '.join(allowed)}")
