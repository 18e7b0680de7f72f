"""Start a contender in the mode that its command line names.

A mode or a handler that it cannot do ends it with exit code 64 and a line on stderr.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any, NoReturn

import told

CANNOT = 64
EMITS = ("emit-sequential", "emit-concurrent", "emit-bulk", "emit-paced")


def main(
    *,
    work: Callable[[], Any],
    emit: Callable[[str], Any],
    also: Mapping[str, Callable[[], Any]] | None = None,
    cannot: Mapping[str, str] | None = None,
) -> None:
    """Do what the mode asks for; a coroutine is run on the event loop we were told.

    also are further modes. cannot are modes and handlers that the contender has no way
    to do, with the reason.
    """
    modes: dict[str, Callable[[], Any]] = {name: lambda: emit(name_of()) for name in EMITS}
    modes |= {"work": work, **(also or {})}
    mode = name_of()
    for asked in (mode, told.HANDLER):
        if cannot and asked in cannot:
            give_up(f"{asked}: {cannot[asked]}")
    if mode not in modes:
        give_up(f"there is no mode {mode!r}; there are {', '.join(modes)}")
    started = modes[mode]()
    if asyncio.iscoroutine(started):
        run(started)


def name_of() -> str:
    """Return the mode on the command line."""
    return sys.argv[1] if len(sys.argv) > 1 else ""


def run(coroutine: Coroutine[Any, Any, Any]) -> None:
    """Run on uvloop, or on asyncio's own loop when that was asked for."""
    factory = None
    if told.LOOP == "uvloop":
        import uvloop

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(coroutine)


def become(*command: str) -> NoReturn:
    """Run a program of this interpreter's virtual environment in place of this one.

    It finds the scripts of this folder as modules.
    """
    here = str(Path(__file__).resolve().parent)
    path = os.pathsep.join(filter(None, [here, os.environ.get("PYTHONPATH")]))
    # Whole, because Python finds out by its own name which environment it belongs to.
    program = str(Path(sys.executable).parent / command[0])
    os.execve(program, [program, *command[1:]], {**os.environ, "PYTHONPATH": path})


def give_up(why: str) -> NoReturn:
    """Exit as one who cannot do what was asked for."""
    print(f"{Path(sys.argv[0]).name} cannot do it: {why}", file=sys.stderr)
    sys.exit(CANNOT)
