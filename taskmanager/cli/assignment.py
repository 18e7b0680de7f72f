"""What a process is to run: the app, its settings, and its place among related processes."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from taskmanager.cli import addresses
from taskmanager.cli.exits import end_at_sigterm, leave_sigint_to_parent

if TYPE_CHECKING:
    from taskmanager.worker.logs import LogLevel


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """Which handlers to run, and how.

    The other fields come from the process that started this one. `index`: its number among
    several, from 1. `again`: whether it replaces an earlier one. `reloaded`: whether it will be
    replaced after a change. `ready_fd`: where it writes a byte once it runs. `parent`: the process
    with which it must end.
    """

    target: str
    settings: Mapping[str, Any]
    index: int | None = None
    again: bool = False
    reloaded: bool = False
    ready_fd: int | None = None
    parent: int | None = None


def accept(context: click.Context, target: str | None, options: Mapping[str, Any]) -> Assignment:
    """Return what the command line asks for. From here on, signals and the log are a worker's.

    `options` are the ones that parameters.of_a_worker adds. Raises a UsageError.
    """
    target = addresses.needed_app(context, target)
    _configure_log(options)
    end_at_sigterm()
    if options["reloaded"]:
        leave_sigint_to_parent()
    settings = addresses.settings(context) | {
        "concurrency": options["concurrency"],
        "queues": options["queues"],
        "connect_timeout": options["connect_timeout"],
        "name": _own_name(options["name"], options["index"]),
        "type": options["type"],
        "capabilities": options["capabilities"],
        # Its text is read like the text of the environment.
        "levels": ",".join(options["levels"]) if options["levels"] else None,
        "region": options["region"],
        "prefetch": options["prefetch"],
    }
    if options["redis"] is not None:
        settings["redis_url"] = options["redis"]
    place = {it: options[it] for it in ("index", "again", "reloaded", "ready_fd", "parent")}
    return Assignment(target=target, settings=settings, **place)


def own_command(*place: str) -> list[str]:
    """Return this process' own command line, with the arguments for a child in this place.

    It works for python -m taskmanager and for a manage.py alike.
    """
    parent = ["--parent", str(os.getpid())]
    return [sys.executable, *sys.orig_argv[1:], *place, *parent]


def _configure_log(options: Mapping[str, Any]) -> None:
    from taskmanager.worker import logs

    level = _level(options["log_level"], verbose=options["verbose"], quiet=options["quiet"])
    logs.configure(options["log_format"], level=level)


def _level(given: LogLevel | None, *, verbose: bool, quiet: bool) -> LogLevel:
    if [given is not None, verbose, quiet].count(True) > 1:
        raise click.UsageError("give only one of --log-level, --verbose and --quiet")
    return given or ("debug" if verbose else "warning" if quiet else "info")


def _own_name(name: str | None, index: int | None) -> str | None:
    if index is None:
        return name
    from consumers.terms import worker_name

    return worker_name(index) if name is None else f"{name}-{index}"
