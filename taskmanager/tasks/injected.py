"""What stands for a context or a job until a worker injects it."""

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


# The default of a parameter that is annotated as Context or Job: type checkers know by it that
# emit need not give it. Typed as what every annotation takes.
injected: Any = Injected()
