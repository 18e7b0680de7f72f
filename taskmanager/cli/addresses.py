"""Accept --url, --namespace and --app before a command and after it, and return their values."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import click

_OPTIONS = (
    ("--url", "URL", "Redis URL.  [default: the app's, then $TASKMANAGER_REDIS_URL]"),
    ("--namespace", "NAME", "Prefix of all Redis keys.  [default: the app's, then tm]"),
    ("--app", "MODULE:ATTR", "The app to use.  [default: $TASKMANAGER_APP]"),
)
_GIVEN = f"{__name__}.given"


def add_to(command: click.Command) -> None:
    """Add the three options to a command and to all commands below it, unless it has its own."""
    known = {it.name for it in command.params}
    ours = [option(*it) for it in _OPTIONS]
    command.params += [it for it in ours if it.name not in known]
    if isinstance(command, click.Group):
        for below in command.commands.values():
            add_to(below)


def option(name: str, metavar: str, help: str) -> click.Option:
    """Return one of the three options; its value is kept, and not passed to the command."""
    return click.Option(
        [name],
        help=help,
        metavar=metavar,
        expose_value=False,
        # Otherwise, the last of several in one place would win.
        multiple=True,
        callback=lambda context, _, values: _keep(context, name, values, name),
    )


def settings(context: click.Context) -> dict[str, Any]:
    """Return the given values under the names of the settings; None is not given."""
    given = _given(context)
    return {"redis_url": given.get("--url"), "namespace": given.get("--namespace")}


def app(context: click.Context, argument: str | None = None) -> str | None:
    """Return the MODULE:ATTR that was given, else the one in the environment, or None.

    `argument` is the argument of commands that take the app as an argument as well.
    """
    if argument is not None:
        _keep(context, "--app", [argument], "the app")
    given: str | None = _given(context).get("--app")
    if given is None:
        # Imported late, so that --help does not wait for it.
        from taskmanager.settings import app_of_process

        return app_of_process()
    return given


def needed_app(context: click.Context, argument: str | None) -> str:
    """Return the MODULE:ATTR that was given; raises a UsageError if there is none."""
    found = app(context, argument)
    if found is None:
        raise click.UsageError(
            f"no app is named: run {context.info_name} MODULE:ATTR, add --app MODULE:ATTR, "
            "or set TASKMANAGER_APP"
        )
    return found


def _keep(context: click.Context, name: str, values: Iterable[str], called: str) -> None:
    if any(_given(context).setdefault(name, it) != it for it in values):
        # Without the values: a URL may contain a password.
        raise click.UsageError(f"{called} is given twice with different values: give it once")


def _given(context: click.Context) -> dict[str, str]:
    # A group and its command share this dict.
    given: dict[str, str] = context.meta.setdefault(_GIVEN, {})
    return given
