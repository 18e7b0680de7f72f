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


def asked(site: Site, queries: list[str]) -> dict[str, list[list[str]]]:
    """Return what the site's own search finds in a browser: places by page, best first."""
    assert 'src="javascripts/search.js"' in (site.folder / "index.html").read_text()
    done = subprocess.run(
        ["node", str(ROOT / "tests" / "pages" / "search.js"), str(site.folder)],
        input=json.dumps(queries),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return dict(zip(queries, json.loads(done.stdout), strict=True))


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


@pytest.mark.skipif(shutil.which("node") is None, reason="there is no node to run the search in")
def test_every_option_is_found_as_it_is_typed(site: Site) -> None:
    typed = [it for it in _command_line(cli, []) if "--" in it]

    found = asked(site, typed)

    lost = [query for query, pages in found.items() if not any(map(_on_its_page, pages))]
    assert lost == []


@pytest.mark.skipif(shutil.which("node") is None, reason="there is no node to run the search in")
@pytest.mark.parametrize(
    ("query", "place"),
    [
        ("--max-retries", "cli/#emit"),
        ("worker --reload", "cli/#reloading"),
        ("worker --log-format json", "cli/#worker"),
        ("dlq replay --all", "cli/#dlq"),
        ("--older-than", "cli/#dlq"),
        ("embedded://", "redis/#embedded"),
        ("rediss://", "redis/#connecting"),
        ("max_retries", "outcomes/#retries"),
        ("TASKMANAGER_RESULT_TTL", "settings/#emitting-jobs-and-keeping-results"),
        ("QueueFull", "reference/errors/#taskmanager.QueueFull"),
        ("dead letter", "outcomes/#dead-letters"),
        ("gunicorn", "flask/"),
        ("debounce_seconds", "deduplication/#debounce"),
    ],
)
def test_a_search_leads_to_the_section_within_five_pages(
    site: Site, query: str, place: str
) -> None:
    (pages,) = asked(site, [query]).values()

    assert place in [location for page in pages[:5] for location in page]


def _on_its_page(places: list[str]) -> bool:
    return any(it.startswith("cli/#") for it in places)


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
