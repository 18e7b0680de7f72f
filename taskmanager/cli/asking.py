"""Ask before something is destroyed."""

from __future__ import annotations

import sys

import click

from taskmanager.cli.exits import USAGE, Exit


def needs_a_person(yes: bool) -> None:
    """Raise an Exit if there is no terminal to ask at, unless it is confirmed already."""
    if not yes and not _at_a_terminal():
        raise Exit("this needs confirmation and stdin is not a terminal: add --yes", USAGE)


def confirm(question: str, yes: bool) -> None:
    """Ask on stderr, unless it is confirmed already; any answer but y ends the command."""
    if not yes:
        click.confirm(question, abort=True, err=True)


def _at_a_terminal() -> bool:
    return sys.stdin.isatty()
