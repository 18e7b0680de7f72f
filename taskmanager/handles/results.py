"""Convert a job's result to the type that its function is annotated to return."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Awaitable, Callable, Coroutine
from functools import cached_property
from typing import Any

from pydantic_core import ValidationError, from_json

from taskmanager.errors import faults_in
from taskmanager.handles.errors import InvalidResult
from taskmanager.options.annotations import evaluated, text_of
from taskmanager.options.losses import read_again
from taskmanager.options.signatures import wrapped_signature_of

# JSON returns these unchanged, so they need no conversion and pydantic is not imported.
_AS_THEY_ARE = {Any, object, None, type(None), str, int, float, bool, dict, list}
_UNIONS = (typing.Union, types.UnionType)


class ResultReader:
    """Converts the results of one function. Its annotation is evaluated at the first result."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def __call__(self, stored: bytes, job_id: str) -> Any:
        """Return the result from its JSON; raises InvalidResult if it has another type."""
        try:
            validator = self._validator
            if validator is not None:
                return read_again(validator, stored)
            value = from_json(stored)
            if not _fits(value, self._wanted):
                raise TypeError(f"it is {type(value).__name__}")
            return value
        except ValidationError as error:
            raise InvalidResult(job_id, self._text, faults_in(error), from_json(stored)) from None
        except Exception as error:
            # The annotation cannot be read here, or a validator raised an error of its own.
            why = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
            raise InvalidResult(job_id, self._text, why, from_json(stored)) from error

    def check_readable(self) -> None:
        """Raise whatever evaluating the annotation raises."""
        if self._annotation is not inspect.Signature.empty:
            evaluated(self._function, self._annotation)

    @cached_property
    def _validator(self) -> Any:
        """The pydantic validator for results; None if JSON needs no conversion."""
        if _is_plain(self._wanted):
            return None
        # Imported here: functions that return plain values need not wait for pydantic.
        from pydantic import TypeAdapter

        return TypeAdapter(self._wanted).validator

    @cached_property
    def _wanted(self) -> Any:
        """The type of a result; Any without an annotation."""
        if self._annotation is inspect.Signature.empty:
            return Any
        return _returned(evaluated(self._function, self._annotation))

    @cached_property
    def _annotation(self) -> Any:
        return wrapped_signature_of(self._function).return_annotation

    @property
    def _text(self) -> str:
        wanted = self._annotation
        is_bare = isinstance(wanted, type) and not typing.get_args(wanted)
        return wanted.__qualname__ if is_bare else text_of(wanted)


def _returned(wanted: Any) -> Any:
    """Return what awaiting gives, for a plain function that returns a coroutine."""
    while typing.get_origin(wanted) in (Coroutine, Awaitable):
        wanted = typing.get_args(wanted)[-1]
    return wanted


def _is_plain(wanted: Any) -> bool:
    origin, parts = typing.get_origin(wanted), typing.get_args(wanted)
    if origin in _UNIONS or origin in (list, dict):
        keys_are_text = origin is not dict or parts[0] is str
        return keys_are_text and all(map(_is_plain, parts))
    try:
        return wanted in _AS_THEY_ARE or isinstance(wanted, typing.TypeVar)
    except TypeError:
        return False


def _fits(value: object, wanted: Any) -> bool:
    """Return whether a JSON value is of a plain type."""
    origin, parts = typing.get_origin(wanted), typing.get_args(wanted)
    if origin in _UNIONS:
        return any(_fits(value, it) for it in parts)
    if origin is list:
        return isinstance(value, list) and all(_fits(it, parts[0]) for it in value)
    if origin is dict:
        return isinstance(value, dict) and all(_fits(it, parts[1]) for it in value.values())
    if wanted in (Any, object) or isinstance(wanted, typing.TypeVar):
        return True
    if wanted in (None, type(None)):
        return value is None
    # In Python, True is an int; and an int is accepted for a float.
    if isinstance(value, bool) or wanted is bool:
        return wanted is bool and isinstance(value, bool)
    return isinstance(value, (int, float) if wanted is float else wanted)
