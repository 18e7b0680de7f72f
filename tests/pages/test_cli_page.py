"""docs/cli.md has each command and each of its options, in the section of that command."""

from __future__ import annotations

import re
from collections.abc import Iterator

import click
import pytest

from taskmanager.cli import cli
from tests.pages.steps import ROOT

_PAGE = (ROOT / "docs" / "cli.md").read_text()
SECTIONS = dict(re.findall(r"^## ([^\n]+)\n(.*?)(?=^## |\Z)", _PAGE, re.M | re.S))
# Every command has these, and one section describes them.
OF_EVERY_COMMAND = {"--url", "--namespace", "--app"}


def _commands(command: click.Command, called: str) -> Iterator[tuple[str, click.Command]]:
    if not isinstance(command, click.Group):
        yield called, command
        return
    for name, child in command.commands.items():
        yield from _commands(child, f"{called} {name}")


# Each that does something, by how it is called.
COMMANDS = dict(_commands(cli, "taskmanager"))


@pytest.mark.parametrize("called", COMMANDS)
def test_a_command_is_described_with_all_of_its_options(called: str) -> None:
    command, section = COMMANDS[called], _section(called)
    options = [it for it in command.params if isinstance(it, click.Option) and not it.hidden]

    missing = [it.opts for it in options if not any(_has(section, name) for name in it.opts)]

    assert called in section
    assert [it for it in missing if not OF_EVERY_COMMAND & {*it}] == []


def test_the_options_of_every_command_are_described() -> None:
    section = SECTIONS["Options of every command"]

    assert [it for it in sorted(OF_EVERY_COMMAND) if not _has(section, it)] == []


def test_no_option_is_described_that_no_command_has() -> None:
    known = {"--version", "--help", *OF_EVERY_COMMAND}
    for command in COMMANDS.values():
        known.update(name for it in command.params for name in it.opts)
    text = "".join(map(_section, COMMANDS))

    assert sorted({*re.findall(r"(?<![\w-])--[a-z][a-z-]+", text)} - known) == []


def _section(called: str) -> str:
    return SECTIONS[called.split()[1]]


def _has(section: str, option: str) -> bool:
    return re.search(rf"(?<![\w-]){re.escape(option)}(?![\w-])", section) is not None
