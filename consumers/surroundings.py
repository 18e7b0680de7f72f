"""Keep the context variables of one job away from others, and from what is called for no job."""

from __future__ import annotations

import contextvars
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


class Surroundings:
    """The context variables as they were when this was made.

    A task copies the context of whoever creates it. What is started when a run ends would
    so begin with the tenant, the trace and the session of that run.
    """

    def __init__(self) -> None:
        self._context = contextvars.copy_context()

    def run(self, call: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Call a function here; variables that it sets are not seen by later ones."""
        return self._context.copy().run(call, *args, **kwargs)
