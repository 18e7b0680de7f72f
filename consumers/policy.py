"""What the engine asks of the layer above: which handler runs, and what the end of a run means."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from pydantic_core import from_json

from consumers.jobs.job import Job
from consumers.jobs.outcome import Ended, Outcome

CallNext = Callable[[], Awaitable[Any]]
"""Calls the rest of the chain around a handler, and returns what it returned.

Middleware awaits `call_next()`.
"""

# Called in place of the handler, on the event loop; what it returns is the result.
Around = Callable[[Job[Any], CallNext], Awaitable[Any]]


class Misfit(Exception):
    """Raised by a decode if another version of the handler may take the job, unlike this one.

    Instead of "bad_payload", it decides itself what becomes of the job.
    """

    def outcome(self, job: Job[Any]) -> Outcome:
        """Return the outcome of the job, whose data is plain JSON."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Handler:
    """A function that runs jobs, called as `call(job, *extra)`.

    - `call`: the function.
    - `extra`: what it is given after the job.
    - `is_async`: whether it is a coroutine function, which runs on the event loop. Others run in a
      thread.
    - `decode`: turns the JSON of a payload into the job's data. It raises pydantic's
      ValidationError if the payload does not fit.
    - `around`: called instead of the function, if given, with the job and a function that calls it.
    - `owner`: an object for the layer above; the handler's runs carry it.
    - `keeps_data`: whether the data of its jobs is kept with their outcome.
    """

    call: Callable[..., Any]
    extra: tuple[Any, ...] = ()
    is_async: bool = field(default=False)
    decode: Callable[[bytes], Any] = from_json
    around: Around | None = None
    owner: object = None
    keeps_data: bool = False

    @classmethod
    def of(cls, call: Callable[..., Any], *extra: Any, owner: object = None) -> Handler:
        """Return a handler for a function; `extra` is what it is given after the job."""
        return cls(call, extra, is_coroutine_function(call), owner=owner)


def is_coroutine_function(function: Callable[..., Any]) -> bool:
    """Return whether a call returns a coroutine, even if it is an object with an async __call__."""
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004
    )


class Policy(Protocol):
    """Decides what runs and what becomes of it. It does no I/O, so tests need no Redis."""

    def events(self, queue: str) -> frozenset[str]:
        """Return the events of a queue that this process can handle."""

    def handler(self, queue: str, event: str) -> Handler | None:
        """Return the handler of an event in a queue, or None."""

    def prepare(self, job: Job[Any], now_ms: Callable[[], int]) -> Outcome | None:
        """Set `max_retries` and `timeout` of a job; return an outcome if it must not run.

        `now_ms` returns the time by Redis' clock, as far as it is known here.
        """

    def decide(self, job: Job[Any], ended: Ended) -> Outcome:
        """Return the outcome to record for the end of a run. Must not raise."""
