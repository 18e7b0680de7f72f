"""The engine's scripts, by name, and the modules that hold them: to load them, or put others in."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType

from consumers.store import (
    archiving,
    asking,
    changing,
    emitting,
    fleet,
    leasing,
    noting,
    relaying,
    replaying,
    scheduling,
    settling,
    tending,
)
from consumers.store.scripts import Script, load, names

MODULES = (
    archiving, asking, changing, emitting, fleet, leasing, noting, relaying, replaying,
    scheduling, settling, tending,
)  # fmt: skip


def engine_scripts() -> list[Script]:
    """Return every script of the engine."""
    return [load(name) for name in names()]


def held() -> Iterator[tuple[ModuleType, str, Script]]:
    """Yield each script that a module holds, with the module and its name there."""
    for module in MODULES:
        for name, script in list(vars(module).items()):
            if isinstance(script, Script):
                yield module, name, script
