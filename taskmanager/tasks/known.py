"""A task among the registered handlers of a task manager."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

from pydantic_core import from_json

from consumers.policy import Handler, is_coroutine_function
from processors.schedules.schedule import Schedule
from taskmanager.errors import InvalidOption, InvalidPayload
from taskmanager.handlers.context import Context
from taskmanager.handlers.registry import KnownHandler
from taskmanager.tasks.signature import TaskSignature


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownTask(KnownHandler):
    """A task as it was registered for an event."""

    event: str
    signature: TaskSignature

    def check(self, queue: str, event: str, data: bytes) -> None:
        """Raise InvalidPayload unless the JSON fits the parameters of the task."""
        self.signature.payload.check(queue, event, data)

    def _check_schedule(self, schedule: Schedule) -> None:
        try:
            self.check(schedule.lane.queue, self.event, schedule.data)
        except InvalidPayload as error:
            given = from_json(schedule.data)
            allowed = f'{error}. Give repeat={{"pattern": ..., "data": {{...}}}}'
            raise InvalidOption("the data of repeat", given, allowed) from error

    def handler(self, context: Context[Any], owner: object, deadline: float) -> Handler:
        """Return what the engine calls; raises InvalidHandler if the function cannot be read."""
        signature = self.signature
        if self.schedule is not None:
            # Not at registration: an annotation may name something that is defined later.
            self._check_schedule(self.schedule)
        signature.check_result()
        return Handler(
            signature.call,
            (context,) if signature.parameters.contexts else (),
            is_coroutine_function(signature.function),
            decode=partial(signature.payload.decode_or_wait, event=self.event, deadline=deadline),
            owner=owner,
        )
