"""The task manager of each backend, one per process for all threads."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

if TYPE_CHECKING:
    from taskmanager.manager import TaskManager

_lock = threading.Lock()
_managers: dict[str, tuple[Mapping[str, Any], TaskManager[Any]]] = {}


def manager_of(alias: str, options: Mapping[str, Any]) -> TaskManager[Any]:
    """Return the task manager of a backend, made when first asked for; it connects later.

    Raises ImproperlyConfigured if OPTIONS are not allowed.
    """
    with _lock:
        found = _managers.get(alias)
        # A backend's options change when tests override settings.
        if found is None or found[0] != options:
            found = _managers[alias] = (dict(options), _made(alias, options))
        return found[1]


def _made(alias: str, options: Mapping[str, Any]) -> TaskManager[Any]:
    # Imported here: a process that only defines tasks need not wait for the Redis client.
    from consumers.errors import TaskManagerError
    from taskmanager.manager import TaskManager

    where = f"the OPTIONS of TASKS[{alias!r}]"
    if "app" in options:
        return _app(where, dict(options))
    try:
        return TaskManager(**options)
    except (TaskManagerError, ValueError, TypeError) as error:
        raise ImproperlyConfigured(
            f"{where} must be the arguments of a TaskManager, or 'app' alone: {error}"
        ) from error


def _app(where: str, options: dict[str, Any]) -> TaskManager[Any]:
    from taskmanager.manager import TaskManager

    target = options.pop("app")
    if options:
        raise ImproperlyConfigured(
            f"{where}: {', '.join(map(repr, options))} would have no effect beside 'app'; "
            f"give them to the TaskManager at {target!r}"
        )
    found = _imported(where, target)
    if callable(found) and not isinstance(found, TaskManager):
        found = found()
    if not isinstance(found, TaskManager):
        raise ImproperlyConfigured(f"{where}: {target!r} is {found!r}, not a TaskManager")
    return found


def _imported(where: str, target: object) -> Any:
    module, colon, attribute = str(target).partition(":")
    if not (module and colon and attribute):
        raise ImproperlyConfigured(
            f"{where}: app {target!r} is not allowed; name a TaskManager, as in 'shop.jobs:tm'"
        )
    try:
        return import_string(f"{module}.{attribute}")
    except ImportError as error:
        raise ImproperlyConfigured(
            f"{where}: app {target!r} cannot be imported: {error}"
        ) from error
