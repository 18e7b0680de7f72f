"""The docs as a site: it builds, has every public name, and what people look for is found."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click
import pytest

import consumers
import processors
import taskmanager
from taskmanager.cli import cli
from taskmanager.settings import PREFIX, Settings
from tests.pages.steps import ROOT

pytestmark = pytest.mark.skipif(
    find_spec("mkdocs") is None, reason="mkdocs is not installed; `make docs` installs it"
)


@dataclass(frozen=True)
class Site:
    """The built site: its folder, and what its search looks through."""

    folder: Path
    sections: tuple[frozenset[str], ...]

    def finds(self, words: str) -> bool:
        """Whether some section has every one of the words, as the search splits them."""
        wanted = set(_split(words))
        return bool(wanted) and any(wanted <= section for section in self.sections)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    index = json.loads((folder / "search" / "search_index.json").read_text())
    return Site(
        folder, tuple(frozenset(_split(f"{it['title']} {it['text']}")) for it in index["docs"])
    )


def _split(text: str) -> list[str]:
    plain = re.sub(r"<[^>]+>", " ", text).replace("&lt;", " ").replace("&gt;", " ")
    return [word.lower() for word in re.split(_separator(), plain) if word]


@cache
def _separator() -> str:
    found = re.search(r"separator: '(.+)'", (ROOT / "mkdocs.yml").read_text())
    assert found
    return found[1]


def test_every_public_name_is_in_the_reference(site: Site) -> None:
    inventory = (site.folder / "objects.inv").read_bytes().split(b"\n", 4)[4]
    known = {line.split(" ")[0] for line in zlib.decompress(inventory).decode().splitlines()}

    missing = [name for name in _public_names() if name not in known]

    assert missing == []


def _public_names() -> Iterator[str]:
    for package in (taskmanager, processors, consumers):
        for name in package.__all__:
            value = getattr(package, name)
            # What two packages offer is described once, under the one that most people import.
            if package is taskmanager or name not in taskmanager.__all__:
                yield f"{package.__name__}.{name}"
            if package is taskmanager and isinstance(value, type):
                yield from (f"taskmanager.{name}.{it}" for it in _members(value))


def _members(kind: type) -> list[str]:
    """Return the public methods and properties that a class of ours defines."""
    ours = ("taskmanager", "processors", "consumers")
    return [
        name
        for owner in kind.__mro__
        if owner.__module__.startswith(ours) and not issubclass(owner, Exception)
        for name, value in vars(owner).items()
        if not name.startswith("_")
        and (callable(value) or isinstance(value, property | classmethod | staticmethod))
    ]


def test_every_command_and_its_options_are_found(site: Site) -> None:
    missing = [words for words in _command_line(cli, []) if not site.finds(words)]

    assert missing == []


# Every command has these, and one section describes them.
_OF_EVERY_COMMAND = {"--url", "--namespace", "--app"}


def _command_line(command: click.Command, path: list[str]) -> Iterator[str]:
    if path:
        yield " ".join(path)
    for parameter in command.params:
        if isinstance(parameter, click.Option) and not parameter.hidden:
            for option in parameter.opts:
                # "-c" alone would be found in any text.
                if option.startswith("--"):
                    where = [] if option in _OF_EVERY_COMMAND else path
                    yield " ".join([*where, option])
    if isinstance(command, click.Group):
        for name, child in command.commands.items():
            yield from _command_line(child, [*path, name])


_TYPED = """
let typed
const target = { matches: () => true, value: process.argv[1] }
globalThis.document = { addEventListener: (name, listener) => { typed = listener } }
eval(require("fs").readFileSync(0, "utf8"))
typed({ target })
process.stdout.write(target.value)
"""


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
@pytest.mark.parametrize(
    ("typed", "searched"),
    [
        ("--max-retries", "max-retries"),
        ("emit --delay", "emit delay"),
        ("dlq -events", "dlq -events"),
        ("--", "--"),
    ],
)
def test_options_are_searched_without_their_hyphens(site: Site, typed: str, searched: str) -> None:
    script = site.folder / "javascripts" / "search.js"
    assert '<script src="javascripts/search.js">' in (site.folder / "index.html").read_text()

    done = subprocess.run(
        ["node", "-e", _TYPED, "--", typed],
        input=script.read_text(),
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout == searched


def test_every_setting_and_its_variable_are_found(site: Site) -> None:
    names = [field.name for field in fields(Settings)]

    missing = [name for name in names if not site.finds(f"{name} {PREFIX}{name.upper()}")]

    assert missing == []


_OPTIONS = (
    "CallOptions",
    "EmitArguments",
    "EmitOptions",
    "HandlerOptions",
    "HandlerRepeat",
    "ProcessorOptions",
    "RegisterHandlerOptions",
    "Repeat",
    "TaskManagerOptions",
    "TaskOptions",
)


@pytest.mark.parametrize("name", _OPTIONS)
def test_every_option_is_found(site: Site, name: str) -> None:
    options: Any = getattr(taskmanager, name)

    missing = [it for it in options.__annotations__ if not site.finds(it)]

    assert missing == []


def test_every_error_is_found_with_its_meaning(site: Site) -> None:
    errors = [
        name
        for name in taskmanager.__all__
        if isinstance(value := getattr(taskmanager, name), type) and issubclass(value, Exception)
    ]
    assert len(errors) > 30

    missing = [name for name in errors if not site.finds(f"{name} raised")]

    assert missing == []
