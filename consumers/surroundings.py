"""Keep the context variables of one job away from others, and from what is called for no job."""

from __future__ import annotations

import contextvars
from collections.abc import Callable


class Surroundings:
    """The context variables as they were when this was made.

    A task copies the context of whoever creates it. What is started when a run ends would
    so begin with the tenant, the trace and the session of that run.
    """

    def __init__(self) -> None:
        # Returns a context with these variables; what is set in it is not seen in later ones.
        # Every run has one, so it is the context's own method.
        self.fresh: Callable[[], contextvars.Context] = contextvars.copy_context().copy
