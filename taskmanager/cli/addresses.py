"""Take --url, --namespace and --app before a command and after it, and say what they came to."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import click

_OPTIONS = (
    ("--url", "URL", "Where Redis is.  [default: the app's, else TASKMANAGER_REDIS_URL]"),
    ("--namespace", "NAME", "What every key starts with.  [default: the app's, else tm]"),
    ("--app", "MODULE:ATTR", "The app.  [default: TASKMANAGER_APP]"),
)
_GIVEN = f"{__name__}.given"


def add_to(command: click.Command) -> None:
    """Have a command, and all that are below it, take the three unless it has its own."""
    known = {it.name for it in command.params}
    ours = [option(*it) for it in _OPTIONS]
    command.params += [it for it in ours if it.name not in known]
    if isinstance(command, click.Group):
        for below in command.commands.values():
            add_to(below)


def option(name: str, metavar: str, help: str) -> click.Option:
    """Return one of the three; what it is given is kept, and not handed to the command."""
    return click.Option(
        [name],
        help=help,
        metavar=metavar,
        expose_value=False,
        # Otherwise the last of several in one place wins.
        multiple=True,
        callback=lambda context, _, values: _keep(context, name, values, name),
    )


def settings(context: click.Context) -> dict[str, Any]:
    """Return what was given, under the names of the settings; None is not given."""
    given = _given(context)
    return {"redis_url": given.get("--url"), "namespace": given.get("--namespace")}


def app(context: click.Context, argument: str | None = None) -> str | None:
    """Return the MODULE:ATTR that was given, else the environment's; None without any.

    argument is that of commands which take the app as an argument as well.
    """
    if argument is not None:
        _keep(context, "--app", [argument], "the app")
    given: str | None = _given(context).get("--app")
    if given is None:
        # Imported late: --help must not wait for it.
        from taskmanager.settings import app_of_process

        return app_of_process()
    return given


def needed_app(context: click.Context, argument: str | None) -> str:
    """Return the MODULE:ATTR that was given; raises a UsageError without any."""
    found = app(context, argument)
    if found is None:
        raise click.UsageError(
            f"name the app: {context.info_name} MODULE:ATTR, --app MODULE:ATTR, "
            "or TASKMANAGER_APP in the environment"
        )
    return found


def _keep(context: click.Context, name: str, values: Iterable[str], called: str) -> None:
    if any(_given(context).setdefault(name, it) != it for it in values):
        # Not the values themselves: a URL may hold a password.
        raise click.UsageError(f"{called} is given twice, and not the same: give it once")


def _given(context: click.Context) -> dict[str, str]:
    # The contexts of a group and of its command have this dict in common.
    given: dict[str, str] = context.meta.setdefault(_GIVEN, {})
    return given
