"""Find the payload type of a handler, and decode and check payloads with it."""

from __future__ import annotations

import inspect
import re
import sys
import typing
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import typing_extensions
from pydantic_core import ValidationError

from consumers.jobs.job import Job
from taskmanager.errors import InvalidHandler, InvalidPayload
from taskmanager.options.annotations import evaluated, text_of
from taskmanager.options.losses import read_again
from taskmanager.options.signatures import wrapped_signature_of

if TYPE_CHECKING:
    from pydantic import TypeAdapter

# An annotation that cannot be evaluated, because its names are imported for type checkers only.
_JOB_OF = re.compile(r"^(?:\w+\.)*Job\[(?P<payload>.+)\]$", re.DOTALL)
_ANYTHING = {"Any", "typing.Any", "object"}
_UNTYPED: Any = object()
# Types that can never be a job.
_NO_JOBS = (int, str, float, bool, bytes, dict, list, tuple, set)
_FORM = (
    "job: Job[Payload], or give payload=Payload, where Payload is a pydantic model, a dataclass, "
    "a TypedDict of typing_extensions or a plain type"
)


class Payload:
    """The payload type of one event. Its pydantic adapter is built once."""

    __slots__ = ("_validator",)

    def __init__(self, adapter: TypeAdapter[Any]) -> None:
        self._validator = adapter.validator

    def decode(self, data: bytes) -> Any:
        """Return the payload that the handler receives; raises pydantic's ValidationError."""
        return read_again(self._validator, data)

    def check(self, queue: str, event: str, data: bytes) -> None:
        """Raise InvalidPayload unless the JSON fits the payload type."""
        try:
            self.decode(data)
        except ValidationError as error:
            raise InvalidPayload(queue, event, error) from None


def payload_of(handler: Callable[..., Any], given: Any) -> Payload | None:
    """Return the payload type named by `payload=` or by an annotation `Job[...]`, or None.

    Only the annotation of the first parameter counts. Raises InvalidHandler if it cannot be
    evaluated, or if pydantic has no schema for the type.
    """
    wanted = _annotated(handler) if given is None else given
    if wanted is _UNTYPED or wanted is Any or isinstance(wanted, typing.TypeVar):
        return None
    # Imported here: programs without typed payloads need not wait for pydantic.
    from pydantic import PydanticSchemaGenerationError, PydanticUserError, TypeAdapter

    try:
        return Payload(TypeAdapter(readable(wanted)))
    except (PydanticSchemaGenerationError, PydanticUserError, TypeError, NameError) as error:
        first = str(error).partition("\n")[0]
        reason = f"its payload {wanted!r} has no schema ({first})"
        raise InvalidHandler(handler, reason, form=_FORM) from error


def readable(wanted: Any) -> Any:
    """Return a TypedDict of `typing` as one of `typing_extensions`, which pydantic requires."""
    if sys.version_info >= (3, 12) or type(wanted).__module__ != "typing":
        return wanted
    if not typing.is_typeddict(wanted):
        return wanted
    hints = typing.get_type_hints(wanted, include_extras=True)
    fields = {
        name: _field(hint, required=name in wanted.__required_keys__)
        for name, hint in hints.items()
    }
    return typing_extensions.TypedDict(wanted.__name__, fields)  # type: ignore[operator]


def _field(hint: Any, *, required: bool) -> Any:
    kind = typing.get_origin(hint)
    if kind in (typing.Required, typing.NotRequired):
        return kind[readable(typing.get_args(hint)[0])]
    return (typing.Required if required else typing.NotRequired)[readable(hint)]


def _annotated(handler: Callable[..., Any]) -> Any:
    parameters = list(wrapped_signature_of(handler).parameters.values())
    if not parameters or parameters[0].annotation is inspect.Parameter.empty:
        return _UNTYPED
    annotation = _resolved(handler, parameters[0].annotation)
    if (typing.get_origin(annotation) or annotation) in _NO_JOBS:
        raise InvalidHandler(
            handler,
            f"its first parameter is annotated as {text_of(parameters[0].annotation)}, but it "
            "receives the job",
            form="{name}(job: Job[...], ctx), or @tm.task above it for a call with arguments",
        )
    if typing.get_origin(annotation) is not Job:
        return _UNTYPED
    return typing.get_args(annotation)[0]


def _resolved(handler: Callable[..., Any], annotation: Any) -> Any:
    """Return the type that an annotation names, even if part of it cannot be evaluated yet."""
    try:
        return evaluated(handler, annotation)
    except Exception as error:
        text = text_of(annotation)
        named = _JOB_OF.match(text)
        if named is None or named["payload"].strip() in _ANYTHING:
            return _UNTYPED
        payload = named["payload"].strip()
        try:
            return Job[evaluated(handler, payload)]  # type: ignore[misc]
        except Exception:
            raise InvalidHandler(
                handler,
                f"its annotation {text!r} cannot be read here ({error}): "
                f"give payload={payload} as well",
                form=_FORM,
            ) from None
