"""The placeholder for a context or job until a worker injects it."""

from __future__ import annotations

from typing import Any, NoReturn


class Injected:
    """The default of a parameter that the worker fills."""

    __slots__ = ()

    def __getattr__(self, name: str) -> NoReturn:
        raise AttributeError(
            f"the context or job of a task that is called directly has no {name!r}: a worker "
            "injects it; in a test pass Context.fake(...) or Job.fake(...)"
        )

    def __repr__(self) -> str:
        return "injected"


injected: Any = Injected()
"""The default for a task's parameters that are annotated as Context or Job.

It tells type checkers that an emit need not give them. A worker injects the real object; in a test,
pass `Context.fake(...)` or `Job.fake(...)`.
"""
