"""Read the annotations of functions, late and in every Python alike."""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

# How typing shows a name that was not evaluated, inside another type.
_FORWARD = re.compile(r"ForwardRef\('(?P<name>[^']*)'[^)]*\)")


def evaluated(function: Callable[..., Any], annotation: Any) -> Any:
    """Return what an annotation of a function stands for, of which all or a part may be text.

    Names are looked up in the module that the function was written in. Raises whatever
    comes up while that is evaluated, NameError mostly.
    """
    holder = SimpleNamespace(__annotations__={"it": annotation})
    # Of def f[T](...), from Python 3.12 on.
    parameters = {it.__name__: it for it in getattr(function, "__type_params__", ())}
    found = typing.get_type_hints(holder, _globals(function), parameters, include_extras=True)
    return found["it"]


def text_of(annotation: Any) -> str:
    """Return an annotation as it may have been written."""
    if isinstance(annotation, typing.ForwardRef):
        return annotation.__forward_arg__
    text = annotation if isinstance(annotation, str) else repr(annotation)
    # Quotes as well as "from __future__ import annotations" give text within text.
    return _FORWARD.sub(r"\g<name>", text).strip().strip("'\"")


def _globals(function: Any) -> dict[str, Any]:
    function = inspect.unwrap(function)
    while isinstance(function, partial):
        function = inspect.unwrap(function.func)
    if not hasattr(function, "__globals__"):
        function = getattr(function, "__func__", None) or type(function).__call__
    found: dict[str, Any] = getattr(function, "__globals__", {})
    return found
