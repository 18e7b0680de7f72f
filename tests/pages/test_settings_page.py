"""docs/settings.md has a row for each setting, with its variable and its default."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

from taskmanager.settings import PREFIX, Settings
from tests.pages.steps import ROOT

PAGE = (ROOT / "docs" / "settings.md").read_text()
# In the environment, and no settings.
OTHER_VARIABLES = {"TASKMANAGER_APP"}
# How the page words a default that is None, or an empty list.
NO_DEFAULT = {
    "none", "no limit", "all that have a handler", "the host's name and a number", "all",
    "chosen by the worker",
}  # fmt: skip


def rows() -> dict[str, list[str]]:
    """Return the cells of each setting's row, by its name."""
    found = re.findall(
        r"^\| `(\w+)` \| `(TASKMANAGER_\w+)` \| (.+?) \| (.+) \| (.+) \|$", PAGE, re.M
    )
    return {name: cells for name, *cells in found}


def shown(default: Any) -> str:
    """Return how the page shows a default that is not None."""
    return f"`{default:g}`" if isinstance(default, float) else f"`{default}`"


def test_each_setting_has_a_row_with_its_variable_and_default() -> None:
    page = rows()

    assert sorted(page) == sorted(it.name for it in dataclasses.fields(Settings))
    for setting in dataclasses.fields(Settings):
        variable, default, *_ = page[setting.name]
        assert variable == f"{PREFIX}{setting.name.upper()}"
        if setting.default in (None, ()):
            assert default in NO_DEFAULT, setting.name
        else:
            assert default == shown(setting.default), setting.name


def test_the_page_names_no_variable_that_nothing_reads() -> None:
    variables = {f"{PREFIX}{it.name.upper()}" for it in dataclasses.fields(Settings)}

    named = set(re.findall(rf"{PREFIX}[A-Z][A-Z_]*", PAGE))

    assert named == variables | OTHER_VARIABLES
