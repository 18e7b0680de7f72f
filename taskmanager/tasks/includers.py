"""Find the task manager whose `include=` names the module of some tasks.

A program that only emits imports the tasks' module itself. Its task manager has not done so, since
it imports included modules only when its worker starts.
"""

from __future__ import annotations

import sys
from typing import Protocol
from weakref import WeakSet

from taskmanager.tasks.task import Home


class Includes(Protocol):
    """What is read from a task manager."""

    task_home: Home

    @property
    def included(self) -> list[str]:
        """The names of the included modules."""


_managers: WeakSet[Includes] = WeakSet()


def remember(manager: Includes) -> None:
    """Let a task manager be found for as long as it exists."""
    _managers.add(manager)


def homes_of(tasks: object) -> list[Home]:
    """Return the homes of all task managers that include a module with these tasks."""
    return [
        it.task_home for it in list(_managers) if any(_has(name, tasks) for name in it.included)
    ]


def _has(module: str, tasks: object) -> bool:
    found = sys.modules.get(module)
    return found is not None and any(it is tasks for it in list(vars(found).values()))
