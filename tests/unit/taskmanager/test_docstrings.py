"""Whatever the package offers says what it is: help() and editors have nothing else."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Iterator
from types import FunctionType
from typing import is_typeddict

import pytest

import taskmanager
from taskmanager.options.arguments import OTHER_NAMES

CLASSES = [
    value
    for name in taskmanager.__all__
    if inspect.isclass(value := getattr(taskmanager, name)) and value.__module__ != "typing"
]
# What is awaited, entered, asked for its length and so on reads like the language.
_ENTERED = {"__aenter__", "__aexit__"}


def ours(kind: type) -> list[type]:
    """Return the class and its bases, without those that are not ours."""
    return [it for it in kind.__mro__ if it.__module__.split(".")[0] in _PACKAGES]


_MEMBERS = (FunctionType, property, classmethod, staticmethod)
_PACKAGES = {"consumers", "processors", "taskmanager"}


def is_public(name: str) -> bool:
    return not name.startswith("_") or name in _ENTERED


def attributes(kind: type) -> Iterator[str]:
    """Yield the names of the values that objects of a class have, by itself."""
    yield from inspect.get_annotations(kind)
    yield from vars(kind).get("__slots__", ())
    for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(kind)))):
        targets = [node.target] if isinstance(node, ast.AnnAssign) else getattr(node, "targets", ())
        for target in targets:
            if isinstance(target, ast.Attribute) and ast.unparse(target.value) == "self":
                yield target.attr


@pytest.mark.parametrize("kind", CLASSES, ids=lambda it: it.__name__)
def test_everything_public_says_what_it_is(kind: type) -> None:
    members = {
        name: getattr(kind, name)
        for it in ours(kind)
        for name, member in vars(it).items()
        if is_public(name) and isinstance(member, _MEMBERS)
    }
    values = {name for it in ours(kind) for name in attributes(it) if is_public(name)}
    text = " ".join(it.__doc__ or "" for it in ours(kind))
    if is_typeddict(kind):
        # One of the documents' dicts may refer to the manual of what it is handed on to.
        text += " ".join(
            it.__doc__ or "" for it in CLASSES if re.search(rf"\b{it.__name__}\b", text)
        )

    undocumented = [name for name, it in members.items() if not inspect.getdoc(it)]
    undocumented += [it for it in values - members.keys() if not re.search(rf"\b{it}\b", text)]
    assert undocumented == []
    # Otherwise it is made by dataclass.
    assert kind.__doc__
    assert not kind.__doc__.startswith(f"{kind.__name__}(")


@pytest.mark.parametrize(
    ("function", "options"),
    [
        (taskmanager.TaskManager.registerHandler, taskmanager.HandlerOptions),
        (taskmanager.TaskManager.emit, taskmanager.EmitArguments),
    ],
    ids=["registerHandler", "emit"],
)
def test_help_lists_the_options_as_their_manual_does(function: object, options: type) -> None:
    for manual in (inspect.getdoc(function), inspect.getdoc(options)):
        listed = set(re.findall(r"^ *(\w+)  +\S", manual or "", re.MULTILINE))
        assert listed >= options.__annotations__.keys() - OTHER_NAMES
