"""Collect what users read: pages, help, docstrings, examples, texts of errors and of the log."""

from __future__ import annotations

import ast
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import click

import consumers
import processors
from taskmanager.cli import cli
from tests.pages.steps import ROOT

# Fenced code and comments; where a link leads; names of the reference; and code in a line, of
# which a letter stays each.
_NOT_PROSE = re.compile(
    r"^( *)```.*?^\1```|<!--.*?-->|\]\([^)\n]*\)|^:::[^\n]*", re.DOTALL | re.MULTILINE
)
_INDENT = re.compile(r"\n[ \t]+")
_CODE = re.compile(r"(`+)[^`]+\1")
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_LEAST_WORDS = 3
_PLAIN = {".md", ".yml", ".yaml", ".service", ".env", ".ini", ".toml", ".txt"}


class Text(NamedTuple):
    """A text, and where it begins; path is relative to the root."""

    path: str
    line: int
    text: str


def prose(path: str, page: str) -> Text:
    """Return the prose of a page, on the lines where it stands."""
    text = _NOT_PROSE.sub(lambda it: re.sub(r"\S", " ", it[0]), page)
    return Text(path, 1, _without_code(text))


def help_texts() -> Iterator[Text]:
    """Return what each command prints for --help, option by option."""
    waiting: list[tuple[str, click.Command]] = [("taskmanager", cli)]
    for name, command in waiting:
        yield Text(f"{name} --help", 1, command.help or "")
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                yield Text(f"{name} {parameter.opts[-1]}", 1, parameter.help or "")
        if isinstance(command, click.Group):
            waiting += [(f"{name} {it.name}", it) for it in command.commands.values()]


def docstrings() -> Iterator[Text]:
    """Return the docstrings of taskmanager, and of the public names of the layers below."""
    for path, tree in _modules("taskmanager"):
        yield from _docstrings(path, ast.walk(tree))
    for package in (consumers, processors):
        for path, tree in _modules(package.__name__):
            for node in tree.body:
                if getattr(node, "name", None) in package.__all__:
                    yield from _docstrings(path, _public(node))


def strings() -> Iterator[Text]:
    """Return each string of three words or more that is not a docstring."""
    for package in ("taskmanager", "processors", "consumers"):
        for path, tree in _modules(package):
            for line, text in sorted(_strings(tree, _docs(ast.walk(tree)))):
                if len(re.findall(r"[a-z]+", text)) >= _LEAST_WORDS:
                    yield Text(_named(path), line, text)


def examples() -> Iterator[Text]:
    """Return what is written in the examples: comments, docstrings and strings."""
    for path in sorted((ROOT / "examples").rglob("*")):
        # Those in broken do not parse: that is what they are for.
        if path.suffix == ".py" and path.parent.name != "broken":
            for line, text in _written(path):
                yield Text(_named(path), line, _without_code(text))
        elif path.suffix in _PLAIN or path.name == "Dockerfile":
            yield prose(_named(path), path.read_text())


def diagrams() -> Iterator[Text]:
    """Return the words in the pictures of the pages, and those read out in their place."""
    for path in sorted((ROOT / "docs").rglob("*.svg")):
        yield Text(_named(path), 1, re.sub(r"<[^>]*>", "\n", path.read_text()))


def _written(path: Path) -> Iterator[tuple[int, str]]:
    tree = ast.parse(path.read_bytes())
    yield from _strings(tree, [])
    with tokenize.open(path) as file:
        comments = [
            it for it in tokenize.generate_tokens(file.readline) if it.type == tokenize.COMMENT
        ]
    # Lines that stand together are one text.
    text, last = "", 0
    for it in comments:
        if it.start[0] != last + 1 and text:
            yield last, text
            text = ""
        text, last = f"{text}\n{it.string.lstrip('# ')}", it.start[0]
    if text:
        yield last, text


def _modules(package: str) -> Iterator[tuple[Path, ast.Module]]:
    for path in sorted((ROOT / package).rglob("*.py")):
        yield path, ast.parse(path.read_bytes())


def _docstrings(path: Path, nodes: Iterator[ast.AST]) -> Iterator[Text]:
    for it in _docs(nodes):
        yield Text(_named(path), it.lineno, _without_code(str(it.value)))


def _docs(nodes: Iterator[ast.AST]) -> list[ast.Constant]:
    """Return the docstrings of those that have one."""
    owners = [it for it in nodes if isinstance(it, (ast.Module, ast.ClassDef, *_FUNCTIONS))]
    first = [it.body[0].value for it in owners if it.body and isinstance(it.body[0], ast.Expr)]
    return [it for it in first if isinstance(it, ast.Constant) and isinstance(it.value, str)]


def _public(node: ast.AST) -> Iterator[ast.AST]:
    """Return a class or function, and the public methods of the class."""
    yield node
    for it in node.body if isinstance(node, ast.ClassDef) else []:
        if isinstance(it, _FUNCTIONS) and not it.name.startswith("_"):
            yield it


def _strings(node: ast.AST, docs: list[ast.Constant]) -> Iterator[tuple[int, str]]:
    if isinstance(node, ast.JoinedStr):
        parts = (it.value if isinstance(it, ast.Constant) else "{}" for it in node.values)
        yield node.lineno, "".join(map(str, parts))
        for it in node.values:
            if isinstance(it, ast.FormattedValue):
                yield from _strings(it.value, docs)
    elif isinstance(node, ast.Constant):
        if isinstance(node.value, str) and not any(node is it for it in docs):
            yield node.lineno, node.value
    else:
        for child in ast.iter_child_nodes(node):
            yield from _strings(child, docs)


def _without_code(text: str) -> str:
    # Without indents: a phrase that goes on in the next line has one blank in it.
    return _INDENT.sub("\n", _CODE.sub(lambda it: re.sub(r"\S", "x", it[0]), text))


def _named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()
