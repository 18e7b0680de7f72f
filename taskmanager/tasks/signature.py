"""A task's function, read when first needed, since annotations may name what is defined later."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

from taskmanager.handles.results import ResultReader
from taskmanager.tasks.arguments import Binder
from taskmanager.tasks.calling import caller
from taskmanager.tasks.parameters import (
    Parameters,
    form_of,
    read_parameters,
    unreadable_result,
)
from taskmanager.tasks.payload import TaskPayload


class TaskSignature:
    """What a task's function takes: to bind an emit, to check data, and to call it."""

    def __init__(self, function: Callable[..., Any], *, name: str) -> None:
        self.function = function
        self.read_result = ResultReader(function)
        self._name = name

    def check_result(self) -> None:
        """Raise InvalidHandler if the return annotation cannot be read."""
        try:
            self.read_result.check_readable()
        except Exception as error:
            raise unreadable_result(self.function, error) from None

    @cached_property
    def parameters(self) -> Parameters:
        """The parameters; raises InvalidHandler if an annotation cannot be read."""
        return read_parameters(self.function)

    @cached_property
    def payload(self) -> TaskPayload:
        """The payload type; raises InvalidHandler for a parameter type without a JSON form."""
        return TaskPayload(self.function, self.parameters)

    @cached_property
    def call(self) -> Callable[..., Any]:
        """What the engine calls as (job, ctx), or as (job) if no context is injected."""
        return caller(self.function, self.parameters)

    @cached_property
    def bind(self) -> Callable[[tuple[Any, ...], Mapping[str, Any]], dict[str, Any]]:
        """The function that turns arguments of an emit into data; it raises InvalidArguments."""
        form = lambda: form_of(self.function)  # noqa: E731 - shown in errors only
        return Binder(self.parameters, task=self._name, form=form).bind
