"""Watch which Python files change, and whether they still parse. Nothing else uses watchfiles."""

from __future__ import annotations

import ast
import contextlib
import importlib.util
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

from taskmanager.cli.exits import USAGE, Exit
from taskmanager.cli.loading import cause

# Saves in quick succession, such as a branch being checked out, are one change.
_SETTLED_MS = 200
_NOT_OURS = frozenset({"__pycache__", "node_modules", "site-packages"})


class Event(Protocol):
    """Signals that changes are no longer wanted."""

    def is_set(self) -> bool:
        """Return whether it was signalled."""


def watching(folders: Sequence[Path]) -> Callable[[Event], Iterator[set[Path]]]:
    """Return a function that yields the .py files changed below the folders, until an event is set.

    Without folders, it watches the working directory. Files in hidden folders and among installed
    packages do not count. Raises an Exit that explains what to install.
    """
    try:
        import watchfiles
    except ImportError:
        raise Exit(
            "reloading needs the library watchfiles: pip install 'taskmanager-streams[dev-server]'",
            USAGE,
        ) from None
    places = [folder.resolve() for folder in folders or [Path()]]

    def counts(_: object, name: str) -> bool:
        return _counts(Path(name), places)

    def changes(stopping: Event) -> Iterator[set[Path]]:
        batches = watchfiles.watch(
            *places, watch_filter=counts, step=_SETTLED_MS, stop_event=stopping
        )
        for batch in batches:
            yield {Path(name) for _, name in batch}

    return changes


def fault_of(path: Path) -> str | None:
    """Return in one line why a file does not parse; None if it does, or does not exist."""
    try:
        with warnings.catch_warnings(action="ignore"):
            ast.parse(path.read_bytes(), path)
    except SyntaxError as error:
        return cause(error)
    except (ValueError, RecursionError, MemoryError) as error:
        return f"{type(error).__name__}: {error}, at {path}"
    except OSError:
        pass
    return None


def forget_compiled(path: Path) -> None:
    """Delete the bytecode that Python caches for a file.

    Python trusts it while the file's size and its time in whole seconds are unchanged, which may be
    so even after a change.
    """
    with contextlib.suppress(OSError, NotImplementedError, ValueError):
        Path(importlib.util.cache_from_source(str(path))).unlink(missing_ok=True)


def _counts(path: Path, places: Sequence[Path]) -> bool:
    within = next((path.relative_to(it).parts for it in places if path.is_relative_to(it)), ())
    hidden = any(part.startswith(".") or part in _NOT_OURS for part in within)
    return path.suffix == ".py" and not hidden
