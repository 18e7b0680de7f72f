"""Ask for schedules to be registered, changed and fired.

What a definition means is known above only; here it is bytes with a digest.
"""

from __future__ import annotations

from collections.abc import Sequence

from consumers.connections.link import Argument
from consumers.jobs.envelope import NewJob
from consumers.jobs.lanes import MAX_LANES
from consumers.store.emitting import job_fields
from consumers.store.keys import Keys
from consumers.store.schedule_record import Record
from consumers.store.scripts import Call, load
from consumers.store.steps import Streams

# Every one is looked at when it is due and listed as a whole: more are a mistake of a loop.
MAX_SCHEDULES = 10_000
REGISTER_SCHEDULE, CHANGE_SCHEDULE = load("register_schedule"), load("change_schedule")
FIRE_SCHEDULE = load("fire_schedule")


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
        REGISTER_SCHEDULE,
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
    return Call(FIRE_SCHEDULE, streams.keys, args)


def _reschedule(
    keys: Keys, name: str, what: str, given: str, digest: str, registered: str = ""
) -> Call:
    return Call(
        CHANGE_SCHEDULE,
        [keys.schedules, keys.schedule(name), keys.schedule_names],
        [keys.base, name, what, given, digest, registered],
    )


def _slot(slot: int | None) -> str:
    return "" if slot is None else str(slot)
