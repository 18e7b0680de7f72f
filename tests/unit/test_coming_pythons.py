"""The source does without what coming Pythons deprecate or do otherwise."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import consumers
import processors
import taskmanager

_PACKAGES = (consumers, processors, taskmanager)
_FILES = [file for it in _PACKAGES for file in Path(it.__path__[0]).rglob("*.py")]
_TREES = {file: ast.parse(file.read_text("utf-8")) for file in _FILES}
# Each with what stands for it.
_BANNED = {
    "get_event_loop": "asyncio.get_running_loop, or asyncio.Runner",
    "get_event_loop_policy": "asyncio.Runner(loop_factory=...)",
    "set_event_loop_policy": "asyncio.Runner(loop_factory=...)",
    "new_event_loop_policy": "asyncio.Runner(loop_factory=...)",
    "AbstractEventLoopPolicy": "asyncio.Runner(loop_factory=...)",
    "DefaultEventLoopPolicy": "asyncio.Runner(loop_factory=...)",
    "get_child_watcher": "nothing: subprocesses do without",
    "set_child_watcher": "nothing: subprocesses do without",
}


def named(tree: ast.AST) -> Iterator[str]:
    """Yield every name that is read, called, or imported from somewhere."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.ImportFrom):
            yield from (it.name for it in node.names)


def of_module(tree: ast.AST, module: str, name: str) -> bool:
    """Return whether a tree names module.name, or imports it from there."""
    return any(
        (isinstance(node, ast.Attribute) and ast.unparse(node) == f"{module}.{name}")
        or (
            isinstance(node, ast.ImportFrom)
            and node.module == module
            and any(it.name == name for it in node.names)
        )
        for node in ast.walk(tree)
    )


@pytest.mark.parametrize("name", _BANNED)
def test_no_event_loop_is_taken_for_granted(name: str) -> None:
    users = [str(file) for file, tree in _TREES.items() if name in named(tree)]

    assert users == [], f"in place of {name} use {_BANNED[name]}"


def test_only_inspect_says_what_a_coroutine_function_is() -> None:
    users = [
        str(file)
        for file, tree in _TREES.items()
        if of_module(tree, "asyncio", "iscoroutinefunction")
    ]

    assert users == []


def test_signatures_are_read_in_one_place() -> None:
    users = [file.name for file, tree in _TREES.items() if of_module(tree, "inspect", "signature")]

    assert users == ["signatures.py"]


def test_no_annotation_of_ours_is_evaluated_when_its_module_is_imported() -> None:
    plain = [str(file) for file, tree in _TREES.items() if annotates(tree) and not defers(tree)]

    assert plain == []


def annotates(tree: ast.AST) -> bool:
    return any(isinstance(it, ast.AnnAssign | ast.FunctionDef) for it in ast.walk(tree))


def defers(tree: ast.Module) -> bool:
    return any(isinstance(it, ast.ImportFrom) and it.module == "__future__" for it in tree.body)


def test_the_scan_sees_the_source() -> None:
    assert len(_FILES) > 100
    assert any("get_running_loop" in named(tree) for tree in _TREES.values())
    assert of_module(ast.parse("import asyncio; asyncio.run"), "asyncio", "run")
    assert of_module(ast.parse("from asyncio import run"), "asyncio", "run")
    assert list(named(ast.parse("from asyncio import run as go"))) == ["run"]
