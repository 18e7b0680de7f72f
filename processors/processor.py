"""Decide what becomes of a run. It holds no connection and does no I/O."""

from __future__ import annotations

import traceback
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from consumers.codec import RESULT_LIMIT, encode
from consumers.errors import InvalidInput
from consumers.job import Job
from consumers.outcome import Buried, Completed, Ended, Outcome, Raised
from consumers.policy import Handler

# A traceback longer than this keeps its head and, since the cause stands at
# the end, three times as much of its tail.
ERROR_LIMIT = 16 * 1024
_HEAD = ERROR_LIMIT // 4
_NOTHING = Completed()


class Processor:
    """The simplest policy: who returns completes the job, who raises buries it.

    handlers are held by (queue, event) and must not change afterwards.
    """

    def __init__(self, handlers: Mapping[tuple[str, str], Handler]) -> None:
        self._handlers = dict(handlers)
        events: defaultdict[str, set[str]] = defaultdict(set)
        for queue, event in self._handlers:
            events[queue].add(event)
        self._events = {queue: frozenset(names) for queue, names in events.items()}

    def events(self, queue: str) -> frozenset[str]:
        """Return the events of a queue that have a handler; empty when none has."""
        return self._events.get(queue, frozenset())

    def handler(self, queue: str, event: str) -> Handler | None:
        """Return the handler of an event, None when there is none."""
        return self._handlers.get((queue, event))

    def decide(self, job: Job[Any], ended: Ended) -> Outcome:
        """Return the outcome to record: completed, or buried as failed or bad_result."""
        if isinstance(ended, Raised):
            return Buried("failed", describe(ended.error))
        if ended.value is None:
            return _NOTHING
        try:
            return Completed(
                encode(ended.value, what=f"the result of job {job.id!r}", limit=RESULT_LIMIT)
            )
        except InvalidInput as error:
            return Buried("bad_result", str(error))


def describe(error: BaseException) -> str:
    """Return the traceback as text of at most 16 KiB, without local variables. Never raises."""
    try:
        text = "".join(traceback.format_exception(error))
    except Exception:
        # An exception class may break its own formatting.
        text = f"{type(error).__name__} (its traceback cannot be shown)"
    return _shorten(text.encode("utf-8", "backslashreplace"))


def _shorten(text: bytes) -> str:
    if len(text) > ERROR_LIMIT:
        gap = b"\n... shortened ...\n"
        text = text[:_HEAD] + gap + text[_HEAD + len(gap) - ERROR_LIMIT :]
    return text.decode("utf-8", "ignore")
