"""What the engine asks of the floor above: which handler runs, and what a run's end means."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from consumers.job import Job
from consumers.outcome import Ended, Outcome


@dataclass(frozen=True, slots=True)
class Handler:
    """A function that runs a job: called as call(job, *extra).

    A coroutine function runs on the event loop, any other one in a thread. owner
    is for the floor above: its runs carry it.
    """

    call: Callable[..., Any]
    extra: tuple[Any, ...] = ()
    is_async: bool = field(default=False)
    owner: object = None

    @classmethod
    def of(cls, call: Callable[..., Any], *extra: Any, owner: object = None) -> Handler:
        """Wrap call and find out whether it is a coroutine function (objects with __call__ too)."""
        is_async = inspect.iscoroutinefunction(call) or inspect.iscoroutinefunction(
            getattr(call, "__call__", None)  # noqa: B004
        )
        return cls(call, extra, is_async, owner)


class Policy(Protocol):
    """Decides; holds no connection and does no I/O, so it is tested without Redis."""

    def events(self, queue: str) -> frozenset[str]:
        """Return the events of a queue that this process can handle."""

    def handler(self, queue: str, event: str) -> Handler | None:
        """Return the handler of an event, None when this process has none."""

    def decide(self, job: Job[Any], ended: Ended) -> Outcome:
        """Turn a run's end into the outcome to record. Must not raise."""
