"""Read a job's result as the type that its function says it returns."""

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

# JSON gives these as they were: nothing is read again, and pydantic is not imported for them.
_AS_THEY_ARE = {Any, object, None, type(None), str, int, float, bool, dict, list}
_UNIONS = (typing.Union, types.UnionType)


class ResultReader:
    """Reads the results of one function; the annotation is read with the first result."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def __call__(self, stored: bytes, job_id: str) -> Any:
        """Return the result in its JSON; raises InvalidResult when the annotation refuses it."""
        try:
            validator = self._validator
            return from_json(stored) if validator is None else read_again(validator, stored)
        except ValidationError as error:
            raise InvalidResult(job_id, self._text, faults_in(error), from_json(stored)) from None
        except Exception as error:
            # The annotation cannot be read here, or a validator raised what pydantic does not know.
            why = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
            raise InvalidResult(job_id, self._text, why, from_json(stored)) from error

    def check_readable(self) -> None:
        """Raise whatever comes up when the annotation is evaluated."""
        if self._annotation is not inspect.Signature.empty:
            evaluated(self._function, self._annotation)

    @cached_property
    def _validator(self) -> Any:
        """What reads a result; None when JSON gives it as it was."""
        if self._annotation is inspect.Signature.empty:
            return None
        wanted = _returned(evaluated(self._function, self._annotation))
        if _is_plain(wanted):
            return None
        # Imported here: who returns plain values does not wait for all of pydantic.
        from pydantic import TypeAdapter

        return TypeAdapter(wanted).validator

    @cached_property
    def _annotation(self) -> Any:
        return wrapped_signature_of(self._function).return_annotation

    @property
    def _text(self) -> str:
        wanted = self._annotation
        is_bare = isinstance(wanted, type) and not typing.get_args(wanted)
        return wanted.__qualname__ if is_bare else text_of(wanted)


def _returned(wanted: Any) -> Any:
    """Return what is awaited of a plain function that returns a coroutine."""
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
