"""The placeholder for a context or job until a worker injects it."""

from __future__ import annotations

from typing import Any, NoReturn


class Injected:
    """The default of a parameter that the worker fills."""

    __slots__ = ()

    def __getattr__(self, name: str) -> NoReturn:
        raise AttributeError(
            f"the task was called directly, so its context or job has no {name!r}: workers inject "
            "them; in a test, pass Context.fake(...) or Job.fake(...)"
        )

    def __repr__(self) -> str:
        return "injected"


injected: Any = Injected()
"""The default for a task's parameters that are annotated as Context or Job.

It tells type checkers that an emit need not give them. A worker injects the real object; in a test,
pass `Context.fake(...)` or `Job.fake(...)`.
"""
