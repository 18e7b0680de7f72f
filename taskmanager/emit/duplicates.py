"""Warn of a dropped emit that asked for something else than the live job of its id has.

Equal data is one live job, and usually that is what is wanted. But a delay of an hour instead of a
second is worth a warning. Programs that emit no duplicates pay nothing for this.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import threading
import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from pydantic_core import from_json

from consumers.emit.batches import Emitted
from consumers.jobs.envelope import NewJob
from consumers.jobs.moments import moment
from consumers.jobs.texts import duration
from taskmanager.clients.clients import Client
from taskmanager.handles.info import JobInfo
from taskmanager.handles.known import info_of

logger = logging.getLogger("taskmanager.emit")

# Seconds between two looks at live jobs, and the seconds that one look may take.
BETWEEN_LOOKS = 1.0
_PATIENCE = 2.0
_MOST_WAITING = 20
_NONE = "none"


class Pace:
    """Gives out turns at a fixed interval to whatever threads ask.

    A client that closes cannot wait. It takes one of a few spare turns, which return as slowly.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._next = self._refilled = time.monotonic()
        self._spare = float(_MOST_WAITING)
        self._lock = threading.Lock()

    @property
    def until_free(self) -> float:
        """The seconds until the next turn."""
        return max(0.0, self._next - time.monotonic())

    def try_take(self, *, closing: bool) -> bool:
        """Take a turn, if there is one now."""
        with self._lock:
            now = time.monotonic()
            if now >= self._next:
                self._next = now + self._seconds
                return True
            return closing and self._take_spare(now)

    def _take_spare(self, now: float) -> bool:
        back = (now - self._refilled) / self._seconds
        self._spare, self._refilled = min(_MOST_WAITING, self._spare + back), now
        if self._spare < 1:
            return False
        self._spare -= 1
        return True


class Duplicates:
    """Compares the emits that a client's producer dropped with the live jobs of their ids.

    It works in the background, one comparison at each turn of the pace, which all clients share.
    Among the emits that wait, it compares one for each event and set of options; the rest are only
    counted. When a client closes, the comparisons are made at once, as far as turns are left.
    """

    def __init__(self, client: Client, pace: Pace) -> None:
        self._client = client
        self._pace = pace
        self._waiting: dict[tuple[object, ...], tuple[NewJob, Emitted]] = {}
        self._looking = self._has_said = False
        # Dropped and not compared, since the last warning.
        self._others = 0

    def dropped(self, job: NewJob, live: Emitted) -> None:
        """Note a dropped emit, and the live job of its id."""
        way = (job.lane.queue, job.event, job.due, job.lane.priority, job.options)
        if way in self._waiting or len(self._waiting) >= _MOST_WAITING:
            self._others += 1
            return
        self._waiting[way] = job, live
        if not self._looking:
            self._looking = True
            self._client.start(self._look_at_all())

    async def _look_at_all(self) -> None:
        try:
            while self._waiting:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._pace.until_free):
                        await self._client.closing.wait()
                closing = self._client.closing.is_set()
                if self._pace.try_take(closing=closing):
                    await self._look_at(*self._waiting.pop(next(iter(self._waiting))))
                elif closing:
                    self._others += len(self._waiting)
                    self._waiting.clear()
                    self._say_others()
        except Exception as error:
            # Redis may be away, which must not hold up the end of a program.
            logger.debug("emits that added nothing were not compared: %s", error)
            self._waiting.clear()
        finally:
            self._looking = False

    async def _look_at(self, job: NewJob, live: Emitted) -> None:
        found = await self._found(job, live)
        if found is not None and (differences := differing(job, found)):
            self._say(job, differences)

    async def _found(self, job: NewJob, live: Emitted) -> JobInfo | None:
        """Return what is known about the live job, or None if it has ended since."""
        queue = job.lane.queue
        async with asyncio.timeout(_PATIENCE):
            facts = await self._client.inspector(queue).job(job.id)
        return info_of(queue, facts) if facts.generation == live.run else None

    def _say_others(self) -> None:
        """Log how many emits were not compared, if an earlier warning was logged."""
        others, self._others = self._others, 0
        if others and self._has_said:
            logger.warning("%s more emits added nothing and were not compared", f"{others:,}")

    def _say(self, job: NewJob, differences: list[str]) -> None:
        self._has_said = True
        others, self._others = self._others, 0
        more = f"; {others:,} more emits added nothing and were not compared" if others else ""
        logger.warning(
            "an emit of event %r to queue %r added nothing: live job %s has the same id, but "
            "differs: %s. To add a second job, use deduplicate=False or another id%s",
            job.event, job.lane.queue, job.id, ", ".join(differences), more,
        )  # fmt: skip


def differing(job: NewJob, live: JobInfo) -> list[str]:
    """Describe how an emit differs from a live job, in words.

    Only what the emit may have meant to change: what runs, when, how soon, and for how long.
    """
    given = from_json(job.options) if job.options else {}
    pairs: dict[str, tuple[object, object]] = {
        "event": (live.event, job.event),
        "delay": _delays(job, live),
        # The priority of a job that only a newer version can read is not known.
        "priority": (
            job.lane.priority if live.priority is None else live.priority,
            job.lane.priority,
        ),
        "timeout": (_seconds(live.options.get("timeout")), _seconds(given.get("timeout"))),
        "expires": (_expiry(live.options), _expiry(given)),
        "requirements": (_requirements(live.options), _requirements(given)),
    }
    found = [
        f"{name} {there} instead of {here}"
        for name, (there, here) in pairs.items()
        if there != here
    ]
    return found if live.data == from_json(job.data) else [*found, "different data"]


def _delays(job: NewJob, live: JobInfo) -> tuple[str, str]:
    """Return the delays of the live job and of the emit, in the form the emit used."""
    due = live.due_at if live.state == "delayed" else None
    if job.due and not job.due.startswith("+"):
        until = moment(int(job.due))
        here = _time(until) if until.timestamp() > time.time() else _NONE
        return (_NONE if due is None else _time(due)), here
    asked = int(job.due) / 1000 if job.due else 0.0
    here = _seconds(asked or None)
    if due is None or live.created_at is None:
        # The job may have had a delay that is over by now. A longer one it did not have.
        since = time.time() - live.created_at.timestamp() if live.created_at else math.inf
        return (_NONE, here) if asked > since else (here, here)
    return _seconds((due - live.created_at).total_seconds()), here


def _expiry(options: Mapping[str, Any]) -> str:
    if (at := options.get("expires_at")) is not None:
        return _time(moment(at))
    after = options.get("expires_ms")
    return _seconds(None if after is None else after / 1000)


def _requirements(options: Mapping[str, Any]) -> str:
    """Return what a job requires of its worker besides the type."""
    route = options.get("route") or {}
    words = {name: it if isinstance(it, str) else "+".join(it) for name, it in route.items()}
    return " ".join(f"{name}={it}" for name, it in words.items() if name != "event") or _NONE


def _seconds(given: float | None) -> str:
    # Redis counts a delay from the next millisecond on.
    return _NONE if given is None else duration(round(given, 2))


def _time(at: datetime) -> str:
    return f"until {at:%Y-%m-%d %H:%M:%S} UTC"
