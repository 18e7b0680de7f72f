"""Find a module of the user's that has the name of a package that we bring.

Such a file would be imported in place of ours, or ours in place of it, and what fails then names
neither. Nothing is imported here, and no code of the user's runs.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

# The packages beside this one, and what tells another copy of ours, as in a clone's root beside
# an installed one, from a package of the user's.
_PACKAGES = {
    "consumers": ("lease", "settle", "upkeep"),
    "processors": ("debounce", "retries", "schedules"),
}
_HOME = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def refuse_shadows(*, on_path: bool = True) -> None:
    """Raise ImportError when something that is not ours has the name of one of our packages.

    With on_path=False a package of ours that is imported already counts as found: what lies
    before it on the path can hide it no more.
    """
    for name in _PACKAGES:
        loaded = sys.modules.get(name)
        file = None if loaded is None else _file_unless_ours(name, loaded)
        if file is None and (on_path or loaded is None):
            file = _first_on_path(name)
        if file is not None:
            raise ImportError(_explained(name, file), name=name, path=file)


def is_command_line() -> bool:
    """Whether this process is, or is about to become, the command line."""
    program = os.path.basename(next(iter(sys.argv), ""))
    # While Python looks for the module that -m names, that stands in the place of the program.
    return program == "-m" or os.path.splitext(program)[0] == "taskmanager"


def _first_on_path(name: str) -> str | None:
    """Return what an import would take, unless it is ours."""
    for finder in sys.meta_path:
        find = getattr(finder, "find_spec", None)
        spec: ModuleSpec | None = None if find is None else find(name, None)
        if spec is not None:
            places = spec.submodule_search_locations
            # Without an origin it is a folder without an __init__.py, and any package goes first.
            if spec.origin is None or (places and _is_ours(name, places)):
                return None
            return next(iter(places or ()), spec.origin)
    return None


def _file_unless_ours(name: str, loaded: ModuleType) -> str | None:
    places = list(getattr(loaded, "__path__", ()))
    if places and _is_ours(name, places):
        return None
    return next(iter(places), None) or getattr(loaded, "__file__", None) or repr(loaded)


def _is_ours(name: str, places: Iterable[str]) -> bool:
    inside = list(places)
    if any(os.path.dirname(os.path.abspath(it)) == _HOME for it in inside):
        first = os.path.join(inside[0], _PACKAGES[name][0])
        # Another distribution may have written over ours.
        if os.path.exists(first) or os.path.exists(f"{first}.py"):
            return True
    return all(PathFinder.find_spec(f"{name}.{it}", inside) for it in _PACKAGES[name])


def _explained(name: str, file: str) -> str:
    ending = os.path.splitext(file)[1]
    if os.path.abspath(file) == os.path.join(_HOME, name):
        return (
            f"{file} is not the package {name!r} that taskmanager brings: another distribution has "
            "been installed over it. Uninstall that one, and install taskmanager anew"
        )
    return (
        f"{file} has the name of the package {name!r} that taskmanager brings "
        f"({os.path.join(_HOME, name)}), and only one of them can be imported: rename yours, for "
        f"example to my_{name}{ending}, or move it into a package, for example as "
        f"my_app.{name} (my_app{os.sep}{name}{ending})"
    )
