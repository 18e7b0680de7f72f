"""Find a module of the user's that has the name of one of our packages.

Such a file would be imported instead of our package, or our package instead of it, and the error
that follows names neither. Nothing is imported here, and no user code runs.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

# The packages beside this one, with modules by which another copy of ours (a clone beside an
# installed package) is recognized.
_PACKAGES = {
    "consumers": ("lease", "settle", "upkeep"),
    "processors": ("debounce", "retries", "schedules"),
}
_HOME = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def refuse_shadows(*, on_path: bool = True) -> None:
    """Raise ImportError if something else has the name of one of our packages.

    With `on_path=False`, one of our packages that is already imported counts as found: nothing
    earlier on the path can hide it any more.
    """
    for name in _PACKAGES:
        loaded = sys.modules.get(name)
        file = None if loaded is None else _file_unless_ours(name, loaded)
        if file is None and (on_path or loaded is None):
            file = _first_on_path(name)
        if file is not None:
            raise ImportError(_explained(name, file), name=name, path=file)


def is_command_line() -> bool:
    """Return whether this process is, or is about to become, the command line."""
    program = os.path.basename(next(iter(sys.argv), ""))
    # While Python looks for the module that -m names, sys.argv[0] is "-m".
    return program == "-m" or os.path.splitext(program)[0] == "taskmanager"


def _first_on_path(name: str) -> str | None:
    """Return the file that an import would load, unless it is ours."""
    for finder in sys.meta_path:
        find = getattr(finder, "find_spec", None)
        spec: ModuleSpec | None = None if find is None else find(name, None)
        if spec is not None:
            places = spec.submodule_search_locations
            # No origin means a folder without __init__.py, and any real package comes before that.
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
        # Another distribution may have overwritten ours.
        if os.path.exists(first) or os.path.exists(f"{first}.py"):
            return True
    return all(PathFinder.find_spec(f"{name}.{it}", inside) for it in _PACKAGES[name])


def _explained(name: str, file: str) -> str:
    ending = os.path.splitext(file)[1]
    if os.path.abspath(file) == os.path.join(_HOME, name):
        return (
            f"{file} is not the package {name!r} of taskmanager: another distribution has been "
            "installed over it. Uninstall that distribution, then reinstall taskmanager"
        )
    return (
        f"{file} has the same name as the package {name!r} of taskmanager "
        f"({os.path.join(_HOME, name)}), and only one of them can be imported: rename yours, for "
        f"example to my_{name}{ending}, or move it into a package, for example as "
        f"my_app.{name} (my_app{os.sep}{name}{ending})"
    )
