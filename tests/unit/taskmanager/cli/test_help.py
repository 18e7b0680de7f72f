"""The help of the command line fits into a terminal of 80 columns."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner

from taskmanager.cli import cli

GROUPS = [[], *([name] for name, it in cli.commands.items() if isinstance(it, click.Group))]


@pytest.mark.parametrize("group", GROUPS, ids=lambda group: group[0] if group else "taskmanager")
def test_no_summary_of_a_command_is_cut_off(group: list[str]) -> None:
    shown = CliRunner().invoke(cli, [*group, "--help"], terminal_width=80).output

    summaries = shown.partition("Commands:\n")[2].splitlines()

    assert len(summaries) > 1
    assert [it for it in summaries if it.endswith("...")] == []
