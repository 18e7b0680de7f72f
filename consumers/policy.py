"""What the engine asks of the floor above: which handler runs, and what a run's end means."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from pydantic_core import from_json

from consumers.jobs.job import Job
from consumers.jobs.outcome import Ended, Outcome

# Runs the handler and returns what it returned.
CallNext = Callable[[], Awaitable[Any]]
# Called in place of the handler, on the event loop; what it returns is the result.
Around = Callable[[Job[Any], CallNext], Awaitable[Any]]


class Misfit(Exception):
    """Raised by a decode for a job that another version of its handler may take, unlike this one.

    In place of bad_payload it says itself what becomes of the job.
    """

    def outcome(self, job: Job[Any]) -> Outcome:
        """Return the outcome of the job, whose data is plain JSON."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Handler:
    """A function that runs a job: called as call(job, *extra).

    A coroutine function runs on the event loop, any other one in a thread.
    decode turns the payload's JSON into the job's data; it raises pydantic's
    ValidationError when the payload is not what the handler takes, or a Misfit. around, when
    given, is called in its place and calls it. owner is for the floor above: its
    runs carry it. keeps_data has the data of its jobs kept with their ends.
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
        """Wrap call and find out whether it is a coroutine function."""
        return cls(call, extra, is_coroutine_function(call), owner=owner)


def is_coroutine_function(function: Callable[..., Any]) -> bool:
    """Whether calling it makes a coroutine; objects with an asynchronous __call__ too."""
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004
    )


class Policy(Protocol):
    """Decides; holds no connection and does no I/O, so it is tested without Redis."""

    def events(self, queue: str) -> frozenset[str]:
        """Return the events of a queue that this process can handle."""

    def handler(self, queue: str, event: str) -> Handler | None:
        """Return the handler of an event, None when this process has none."""

    def prepare(self, job: Job[Any], now_ms: Callable[[], int]) -> Outcome | None:
        """Give a job its retry budget and timeout; return the outcome if it is not to run.

        now_ms tells the time by Redis' clock, as well as it is known here.
        """

    def decide(self, job: Job[Any], ended: Ended) -> Outcome:
        """Turn a run's end into the outcome to record. Must not raise."""
