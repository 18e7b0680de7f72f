"""The pages show the examples' files word for word, so that neither can drift."""

from __future__ import annotations

import re

import pytest

from tests.support.deployed import EXAMPLES, ROOT

PAGES = {"fastapi.md": "fastapi_app", "flask.md": "flask_app", "scripts.md": "scripts"}
_TITLED = re.compile(r'^```python title="(?P<name>[^"]+)"\n(?P<code>.*?)^```$', re.M | re.S)


@pytest.mark.parametrize("page", PAGES)
def test_a_page_shows_the_files_of_its_example_and_no_others(page: str) -> None:
    shown = {
        match["name"]: match["code"]
        for match in _TITLED.finditer((ROOT / "docs" / page).read_text())
    }
    files = {it.name: it.read_text() for it in (EXAMPLES / PAGES[page]).glob("*.py")}

    assert shown == files


def test_the_table_of_examples_names_every_example() -> None:
    table = (EXAMPLES / "README.md").read_text()
    others = {"README.md", "pytest.ini", "ruff.toml", "broken", "__pycache__"}
    examples = {it.name for it in EXAMPLES.iterdir() if not it.name.startswith(".")} - others

    assert examples == set(re.findall(r"^\| \[([^]]+)\]\(\1\)", table, re.M))
