"""Find the task manager whose include= names a module that tasks are in.

A program that only emits imports the tasks' module itself: their manager has not done so,
for it imports what it includes when its worker starts.
"""

from __future__ import annotations

import sys
from typing import Protocol
from weakref import WeakSet

from taskmanager.tasks.task import Home


class Includes(Protocol):
    """What is looked at of a task manager."""

    task_home: Home

    @property
    def included(self) -> list[str]:
        """The names of the modules that include names."""


_managers: WeakSet[Includes] = WeakSet()


def remember(manager: Includes) -> None:
    """Have a manager found as long as somebody has it."""
    _managers.add(manager)


def homes_of(tasks: object) -> list[Home]:
    """Return what tasks have of each manager that names a module with them in a variable."""
    return [
        it.task_home for it in list(_managers) if any(_has(name, tasks) for name in it.included)
    ]


def _has(module: str, tasks: object) -> bool:
    found = sys.modules.get(module)
    return found is not None and any(it is tasks for it in list(vars(found).values()))
