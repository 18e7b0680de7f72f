"""The workers that read a queue, and what each tells of itself there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic_core import from_json, to_json

from consumers.connections.clock import server_ms
from consumers.connections.wire import Wire
from consumers.jobs.routes import Profile, Route, matches
from consumers.store.fleet import FORGET_AFTER_MS
from consumers.store.keys import Keys
from consumers.store.scripts import Call, load

# One worker of a queue looks this often for those that are silent.
_LOOK_MS = FORGET_AFTER_MS // 2
# No count of a worker is larger, and no time has more digits.
_MOST, _MOST_DIGITS = 2**31, 15
REGISTER_WORKER = load("register_worker")


@dataclass(frozen=True, slots=True)
class WorkerState:
    """What a worker tells of itself in one of its queues.

    slots and running count the jobs of all its queues; events are those that it handles in this
    one. envelope is the version of the entries that it reads, and older ones. Once it is stopping
    it starts nothing any more.
    """

    profile: Profile
    slots: int
    running: int
    events: frozenset[str]
    envelope: int
    stopping: bool = False

    def handles(self, event: str, version: int = 1) -> bool:
        """Return whether it starts jobs of an event in entries of a version."""
        return not self.stopping and version <= self.envelope and event in self.events

    def may_run(self, route: Route) -> bool:
        """Return whether it starts jobs of a route, of the priorities that it takes."""
        return self.handles(route.event) and matches(route, self.profile)

    def written(self) -> bytes:
        """Return it as JSON, with all that JSON has no word for in a fixed order."""
        profile = self.profile
        return to_json(
            {
                "name": profile.name,
                "type": profile.type,
                "capabilities": sorted(profile.capabilities),
                "levels": None if profile.levels is None else sorted(profile.levels),
                "region": profile.region,
                "slots": self.slots,
                "running": self.running,
                "events": sorted(self.events),
                "envelope": self.envelope,
                "stopping": self.stopping,
            }
        )

    @classmethod
    def read(cls, text: bytes) -> WorkerState | None:
        """Return the state in what `written` returned; None for what somebody else wrote."""
        try:
            told = from_json(text)
            profile = Profile.checked(
                told["name"],
                told["type"],
                capabilities=_list(told["capabilities"]),
                levels=told["levels"],
                region=told["region"],
            )
            counts = [_count(told[it]) for it in ("slots", "running", "envelope")]
            events = _events(told["events"])
        except (ValueError, TypeError, LookupError):
            return None
        slots, running, envelope = counts
        return cls(profile, slots, running, events, envelope, told.get("stopping") is True)


@dataclass(frozen=True, slots=True)
class SeenWorker:
    """A worker of a queue: its id, when its last heartbeat came (ms), and what that said."""

    id: str
    seen_ms: int
    state: WorkerState


def register_worker(keys: Keys, worker_id: str, state: WorkerState) -> Call:
    """Return the listing of a worker of a queue, which lives now."""
    names = [keys.workers, keys.meta]
    return Call(REGISTER_WORKER, names, [worker_id, state.written(), FORGET_AFTER_MS, _LOOK_MS])


async def workers_of(wire: Wire, keys: Keys) -> list[SeenWorker]:
    """Return the workers of a queue that were heard of within the last minute, by name and id."""
    # First: what is written after it is only younger.
    now = await server_ms(wire)
    flat = await wire.send("HGETALL", keys.workers)
    found = (_seen(*pair) for pair in zip(flat[::2], flat[1::2], strict=True))
    live = [it for it in found if it is not None and abs(now - it.seen_ms) <= FORGET_AFTER_MS]
    return sorted(live, key=lambda it: (it.state.profile.name, it.id))


def _seen(worker_id: bytes, stored: bytes) -> SeenWorker | None:
    at, _, text = stored.partition(b" ")
    state = WorkerState.read(text)
    if state is None or not at.isdigit() or len(at) > _MOST_DIGITS:
        return None
    return SeenWorker(worker_id.decode("utf-8", "replace"), int(at), state)


def _count(value: Any) -> int:
    if type(value) is not int or not 0 <= value <= _MOST:
        raise ValueError("it is not a number of anything")
    return value


def _events(told: Any) -> frozenset[str]:
    # Texts without what a terminal would obey. To check each as a name would take most of the time.
    if not "".join(_list(told)).isprintable():
        raise ValueError("they are not names")
    return frozenset(told)


def _list(value: Any) -> list[Any]:
    if type(value) is not list:
        raise TypeError("it is not a list")
    return value
