"""Read the signatures of functions, alike in every version of Python.

From Python 3.14 on, an annotation is evaluated when it is read. If it names something that is
imported for type checkers only, that raises NameError, even for a caller who only counts
parameters.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from typing import Any

if sys.version_info >= (3, 14):
    from annotationlib import Format

    # An annotation that cannot be evaluated becomes a ForwardRef.
    _UNEVALUATED: dict[str, Any] = {"annotation_format": Format.FORWARDREF}
else:
    _UNEVALUATED: dict[str, Any] = {}


def signature_of(function: Callable[..., Any]) -> inspect.Signature:
    """Return the signature with which a function is called; of a wrapper, its own.

    Annotations without a value here are text or a ForwardRef. Raises TypeError or ValueError, as
    inspect.signature does, if there is no signature.
    """
    try:
        return inspect.signature(_function(function), follow_wrapped=False, **_UNEVALUATED)
    except ValueError:
        # A wrapper in C, such as lru_cache's, is called like the function it wraps.
        return wrapped_signature_of(function)


def wrapped_signature_of(function: Callable[..., Any]) -> inspect.Signature:
    """Return the signature of the function that a wrapper calls, or of a plain function."""
    return inspect.signature(_function(function), **_UNEVALUATED)


def _function(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function that calling an object runs, which has the annotations that count."""
    if inspect.isroutine(function) or inspect.isclass(function) or _says_itself(function):
        return function
    call: Any = getattr(function, "__call__", None)  # noqa: B004
    return call if inspect.ismethod(call) else function


def _says_itself(function: object) -> bool:
    return hasattr(function, "__signature__") or hasattr(function, "__wrapped__")
