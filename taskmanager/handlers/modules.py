"""Import the modules that `include=` names, so that their handlers are registered.

This happens when a worker starts, not before: such a module usually imports the task manager that
names it.
"""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Callable, Iterable
from types import ModuleType

from taskmanager.errors import InvalidOption

_PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")


class Modules:
    """The included modules of one task manager, by name."""

    def __init__(self, given: object) -> None:
        self._names: dict[str, None] = {}
        # Called with each module after it was imported.
        self.on_import: Callable[[ModuleType], None] = lambda module: None
        if isinstance(given, str) or not isinstance(given, Iterable):
            raise InvalidOption("include", given, 'give a list: include=["shop.jobs"]')
        self.add(given)

    @property
    def names(self) -> list[str]:
        """The names of the modules, in the order in which they were given."""
        return list(self._names)

    @property
    def are_imported(self) -> bool:
        """Whether all of them are imported, no matter by what."""
        return all(name in sys.modules for name in self._names)

    def add(self, modules: Iterable[object]) -> None:
        """Include more modules, by import path or as module objects."""
        for module in modules:
            name = module.__name__ if isinstance(module, ModuleType) else module
            if not isinstance(name, str) or _PATH.fullmatch(name) is None:
                raise InvalidOption("include", module, "give import paths like 'shop.jobs'")
            self._names[name] = None

    def import_all(self) -> None:
        """Import the modules that are not imported yet; raises what their import raises."""
        for name in self._names:
            self.import_one(name)

    def import_one(self, name: str) -> None:
        """Import one of the modules; raises what the import raises."""
        self.on_import(importlib.import_module(name))
