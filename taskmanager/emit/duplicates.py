"""Say that an emit was dropped which asked for something else than the live job of its id has.

Equal data is one live job, and mostly that is what is wanted; an hour's delay in place of a
second's is not. Whoever emits no duplicates pays nothing for this.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from pydantic_core import from_json

from consumers.emit.batches import Emitted
from consumers.jobs.envelope import NewJob
from consumers.jobs.texts import duration
from taskmanager.clients.clients import Client
from taskmanager.handles.info import JobInfo, moment
from taskmanager.handles.known import info_of

logger = logging.getLogger("taskmanager.emit")

# Seconds between two looks at live jobs, and what a look may take.
BETWEEN_LOOKS = 1.0
_PATIENCE = 2.0
_MOST_WAITING = 20
_NONE = "none"


class Pace:
    """Gives out turns, one in so many seconds, to whatever threads ask."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._next = time.monotonic()
        self._lock = threading.Lock()

    def take(self) -> float:
        """Return the seconds until a turn, which nobody else gets."""
        with self._lock:
            now = time.monotonic()
            turn = max(now, self._next)
            self._next = turn + self._seconds
            return turn - now


class Duplicates:
    """Compares emits that one client's producer dropped with the jobs that are live instead.

    In the background, one at each turn of the pace, which all clients share: of those that
    wait for that, one for each event and each way to ask for it, and the others are counted.
    A client that closes has all of them compared at once.
    """

    def __init__(self, client: Client, pace: Pace) -> None:
        self._client = client
        self._pace = pace
        self._waiting: dict[tuple[object, ...], tuple[NewJob, Emitted]] = {}
        self._looking = False
        # Dropped, and not to be compared, since that was said last.
        self._others = 0

    def dropped(self, job: NewJob, live: Emitted) -> None:
        """Take note of an emit, and of the live job that it met."""
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
                    async with asyncio.timeout(self._pace.take()):
                        await self._client.closing.wait()
                await self._look_at(*self._waiting.pop(next(iter(self._waiting))))
        except Exception as error:
            # Redis may be away: that is no reason to hold up the end of a program.
            logger.debug("live jobs could not be looked at: %s", error)
            self._waiting.clear()
        finally:
            self._looking = False

    async def _look_at(self, job: NewJob, live: Emitted) -> None:
        found = await self._found(job, live)
        if found is not None and (differences := differing(job, found)):
            self._say(job, differences)

    async def _found(self, job: NewJob, live: Emitted) -> JobInfo | None:
        """Return what is known of the live job; None when it has ended since."""
        queue = job.lane.queue
        async with asyncio.timeout(_PATIENCE):
            facts = await self._client.inspector(queue).job(job.id)
        return info_of(queue, facts) if facts.generation == live.run else None

    def _say(self, job: NewJob, differences: list[str]) -> None:
        others, self._others = self._others, 0
        more = f"; {others:,} more emits were dropped and not compared" if others else ""
        logger.warning(
            "an emit of event %r to queue %r added nothing: its id is that of live job %s, which "
            "has other options: %s. For a job of its own give deduplicate=False, or another id%s",
            job.event, job.lane.queue, job.id, ", ".join(differences), more,
        )  # fmt: skip


def differing(job: NewJob, live: JobInfo) -> list[str]:
    """Return which options of an emit differ from those of a live job, and how, in words.

    Only what the emit could mean to change: when it runs, how soon, and for how long.
    """
    given = from_json(job.options) if job.options else {}
    pairs = {
        "delay": _delays(job, live),
        # It is not known of a job that is put off.
        "priority": (
            job.lane.priority if live.priority is None else live.priority,
            job.lane.priority,
        ),
        "timeout": (_seconds(live.options.get("timeout")), _seconds(given.get("timeout"))),
        "expires": (_expiry(live.options), _expiry(given)),
    }
    return [
        f"{name} {there} there and {here} here"
        for name, (there, here) in pairs.items()
        if there != here
    ]


def _delays(job: NewJob, live: JobInfo) -> tuple[str, str]:
    """Return the delays of the live job and of the emit, as the emit gave it."""
    due = live.due_at if live.state == "delayed" else None
    if job.due and not job.due.startswith("+"):
        until = moment(int(job.due))
        here = _time(until) if until.timestamp() > time.time() else _NONE
        return (_NONE if due is None else _time(due)), here
    here = _seconds(int(job.due) / 1000 if job.due else None)
    if due is None or live.created_at is None:
        return _NONE, here
    return _seconds((due - live.created_at).total_seconds()), here


def _expiry(options: Mapping[str, Any]) -> str:
    if (at := options.get("expires_at")) is not None:
        return _time(moment(at))
    after = options.get("expires_ms")
    return _seconds(None if after is None else after / 1000)


def _seconds(given: float | None) -> str:
    # Redis counts a delay from the next millisecond on.
    return _NONE if given is None else duration(round(given, 2))


def _time(at: datetime) -> str:
    return f"until {at:%Y-%m-%d %H:%M:%S} UTC"
