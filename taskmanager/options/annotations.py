"""Evaluate the annotations of functions late, and alike in every version of Python."""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

# How typing shows an unevaluated name inside another type.
_FORWARD = re.compile(r"ForwardRef\('(?P<name>[^']*)'[^)]*\)")


def evaluated(function: Callable[..., Any], annotation: Any) -> Any:
    """Return the type that an annotation names, even if it is text in whole or in part.

    Names are looked up in the module of the function. Raises what evaluating raises, usually
    NameError.
    """
    holder = SimpleNamespace(__annotations__={"it": annotation})
    # The T of def f[T](...), from Python 3.12 on.
    parameters = {it.__name__: it for it in getattr(function, "__type_params__", ())}
    found = typing.get_type_hints(holder, _globals(function), parameters, include_extras=True)
    return found["it"]


def text_of(annotation: Any) -> str:
    """Return an annotation as it was probably written."""
    if isinstance(annotation, typing.ForwardRef):
        return annotation.__forward_arg__
    text = annotation if isinstance(annotation, str) else repr(annotation)
    # Quotes together with "from __future__ import annotations" give text within text.
    return _FORWARD.sub(r"\g<name>", text).strip().strip("'\"")


def _globals(function: Any) -> dict[str, Any]:
    function = inspect.unwrap(function)
    while isinstance(function, partial):
        function = inspect.unwrap(function.func)
    if not hasattr(function, "__globals__"):
        function = getattr(function, "__func__", None) or type(function).__call__
    found: dict[str, Any] = getattr(function, "__globals__", {})
    return found
