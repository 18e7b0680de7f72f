"""The payload type of a task: an object with the parameters of its function, and no other keys."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NotRequired, Required

import typing_extensions
from pydantic_core import SchemaValidator, ValidationError

from consumers.jobs.texts import duration
from processors.retries.newer import NewerData
from taskmanager.errors import InvalidHandler, InvalidPayload
from taskmanager.handlers.payloads import readable
from taskmanager.options.losses import read_again
from taskmanager.tasks.errors import UnknownParameters
from taskmanager.tasks.parameters import Parameters, names_in, unfit_parameter

if TYPE_CHECKING:
    from pydantic import TypeAdapter

logger = logging.getLogger("taskmanager.handlers")

_UNKNOWN = "extra_forbidden"
# The names come from producers, and nobody reads more lines than this.
_MOST_WARNED = 20


class _Taken(ValueError):
    """Raised for a key of **kwargs that is the name of a parameter."""


class TaskPayload:
    """The payload type of one task, built from the names and types of its parameters."""

    def __init__(self, function: Callable[..., Any], parameters: Parameters) -> None:
        self._parameters = parameters
        try:
            self._validator = _validator_of(parameters)
            self._more = _adapter_of_more(parameters)
        except Exception as error:
            # pydantic raises several kinds of errors for types, and types may raise anything.
            raise _culprit(function, parameters, error) from error
        self._warned: set[str] = set()

    def decode(self, data: bytes) -> dict[str, Any]:
        """Return the arguments in JSON, as the function takes them.

        Raises pydantic's ValidationError, and ValueError for a key of **kwargs that is the name of
        a parameter.
        """
        read: dict[str, Any] = read_again(self._validator, data)
        return read if self._more is None else self._with_more(read, self._more)

    def decode_or_wait(self, data: bytes, event: str, deadline: float) -> dict[str, Any]:
        """Return the arguments in JSON; raises NewerData for names that are not known here."""
        try:
            return self.decode(data)
        except ValidationError as error:
            if not (names := _unknown(error)):
                raise
            newer = NewerData(event, names, deadline=deadline)
            self._warn(newer)
            raise newer from None

    def check(self, queue: str, event: str, data: bytes) -> None:
        """Raise InvalidPayload unless the JSON fits the parameters of the task."""
        try:
            self.decode(data)
        except ValidationError as error:
            names = _unknown(error)
            if not names:
                raise InvalidPayload(queue, event, error) from None
        except _Taken as taken:
            names = list(taken.args)
        else:
            return
        raise UnknownParameters(queue, event, names, list(names_in(self._parameters)))

    def _warn(self, newer: NewerData) -> None:
        if newer.names in self._warned or len(self._warned) >= _MOST_WARNED:
            return
        self._warned.add(newer.names)
        logger.warning(
            "%s, but a job passes it; such jobs wait up to %s for a worker with a newer version, "
            "then become dead letters",
            newer, duration(newer.deadline),
        )  # fmt: skip

    def _with_more(self, read: dict[str, Any], adapter: TypeAdapter[Any]) -> dict[str, Any]:
        own = set(names_in(self._parameters))
        more = {name: value for name, value in read.items() if name not in own}
        for name in more:
            if name in self._parameters.taken:
                raise _Taken(name)
        return {**read, **adapter.validate_python(more)}


def _unknown(error: ValidationError) -> list[str]:
    """Return the top-level names of the data that are not parameters."""
    return [
        str(fault["loc"][0])
        for fault in error.errors(include_url=False, include_input=False, include_context=False)
        if fault["type"] == _UNKNOWN and len(fault["loc"]) == 1
    ]


def _validator_of(parameters: Parameters) -> Any:
    # Imported here: a process that emits and runs no tasks need not wait for pydantic.
    from pydantic import TypeAdapter

    # Not a model: in a model, a parameter could not be called json or model_config.
    typed_dict: Any = typing_extensions.TypedDict
    schema: Any = TypeAdapter(typed_dict("data", _fields(parameters))).core_schema
    return SchemaValidator(_at_the_top(schema, "forbid" if parameters.more is None else "allow"))


def _at_the_top(schema: Mapping[str, Any], extra: str) -> Any:
    """Return a schema that decides about extra keys of its own object only.

    As a configuration, the rule would apply to nested dataclasses and TypedDicts as well.
    """
    if schema["type"] == "definitions":
        return {**schema, "schema": _at_the_top(schema["schema"], extra)}
    assert schema["type"] == "typed-dict", schema["type"]
    return {**schema, "extra_behavior": extra}


def _fields(parameters: Parameters) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for name in parameters.given:
        marker: Any = Required if name in parameters.required else NotRequired
        fields[name] = marker[readable(parameters.hints[name])]
    if parameters.rest is not None:
        item: Any = readable(parameters.hints[parameters.rest])
        fields[parameters.rest] = NotRequired[list[item]]
    return fields


def _adapter_of_more(parameters: Parameters) -> TypeAdapter[Any] | None:
    if parameters.more is None:
        return None
    from pydantic import TypeAdapter

    value: Any = readable(parameters.hints[parameters.more])
    more: Any = dict[str, value]
    return TypeAdapter(more)


def _culprit(
    function: Callable[..., Any], parameters: Parameters, error: Exception
) -> InvalidHandler:
    """Return the error that names the parameter whose type has no JSON form."""
    from pydantic import TypeAdapter

    for name, hint in parameters.hints.items():
        try:
            TypeAdapter(readable(hint))
        except Exception as its:
            first = str(its).partition("\n")[0]
            return unfit_parameter(function, name, f"has no JSON form ({first})")
    return unfit_parameter(function, "data", f"has no JSON form ({error})")
