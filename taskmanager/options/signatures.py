"""How a function is called, read in every Python alike.

From Python 3.14 on an annotation is evaluated when it is read. One that names what
is imported for type checkers only raises NameError then, although nobody who asks
how many arguments there are wants to know what they are.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from typing import Any

if sys.version_info >= (3, 14):
    from annotationlib import Format

    # What cannot be evaluated becomes a ForwardRef.
    _UNEVALUATED: dict[str, Any] = {"annotation_format": Format.FORWARDREF}
else:
    _UNEVALUATED: dict[str, Any] = {}


def signature_of(function: Callable[..., Any]) -> inspect.Signature:
    """Return how a function is called: of a wrapper its own signature, not what it wraps.

    Annotations that have no value here are text or a ForwardRef. Raises TypeError or
    ValueError, as inspect.signature does, when there is no signature.
    """
    try:
        return inspect.signature(_function(function), follow_wrapped=False, **_UNEVALUATED)
    except ValueError:
        # A wrapper in C, as of lru_cache, is called as what it wraps.
        return wrapped_signature_of(function)


def wrapped_signature_of(function: Callable[..., Any]) -> inspect.Signature:
    """Return the signature of what a wrapper calls, or of a function that is none."""
    return inspect.signature(_function(function), **_UNEVALUATED)


def _function(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return what runs when an object is called: its own annotations are about its attributes."""
    if inspect.isroutine(function) or inspect.isclass(function) or _says_itself(function):
        return function
    call: Any = getattr(function, "__call__", None)  # noqa: B004
    return call if inspect.ismethod(call) else function


def _says_itself(function: object) -> bool:
    return hasattr(function, "__signature__") or hasattr(function, "__wrapped__")
