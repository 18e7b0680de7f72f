"""Every public name explains itself: help(), editors and the reference have nothing else."""

from __future__ import annotations

import ast
import inspect
import re
import sys
import textwrap
from collections.abc import Iterable, Iterator
from enum import Enum
from itertools import pairwise
from types import FunctionType, ModuleType
from typing import Any, is_typeddict

import pytest

import consumers
import processors
import taskmanager
from taskmanager.admin.dlq import DeadLetterQueue, ReplayedAll
from taskmanager.options.arguments import OTHER_NAMES
from taskmanager.sync import Sync, SyncDeadLetterQueue

PACKAGES: tuple[ModuleType, ...] = (taskmanager, consumers, processors)
NAMES = {name: getattr(package, name) for package in PACKAGES for name in package.__all__}
# Classes without a public name whose objects the public ones return.
RETURNED = (Sync, SyncDeadLetterQueue, DeadLetterQueue, ReplayedAll)
CLASSES = [
    it
    for it in dict.fromkeys((*NAMES.values(), *RETURNED))
    if inspect.isclass(it) and it.__module__ != "typing"
]
FUNCTIONS = [it for it in NAMES.values() if isinstance(it, FunctionType)]
# Type aliases and plain values have their docstring in the source, below their definition.
VALUES = [
    name
    for name, it in NAMES.items()
    if not (inspect.isclass(it) and it.__module__ != "typing") and not isinstance(it, FunctionType)
]
# Other special methods, such as the length, read like the language.
_ENTERED = {"__aenter__", "__aexit__"}
_MEMBERS = (FunctionType, property, classmethod, staticmethod)


def ours(kind: type) -> list[type]:
    """Return the class and those of its bases that are ours."""
    roots = {package.__name__ for package in PACKAGES}
    return [it for it in kind.__mro__ if it.__module__.partition(".")[0] in roots]


def is_public(name: str) -> bool:
    return not name.startswith("_") or name in _ENTERED


def members(kind: type) -> dict[str, Any]:
    """Return the public methods and properties of a class."""
    return {
        name: getattr(kind, name)
        for it in ours(kind)
        for name, member in vars(it).items()
        if is_public(name) and isinstance(member, _MEMBERS)
    }


def attributes(kind: type) -> set[str]:
    """Return the names of the values that its objects have: fields, slots, what it sets."""
    return {name for it in ours(kind) for name in _attributes(it) if is_public(name)}


def _attributes(kind: type) -> Iterator[str]:
    yield from inspect.get_annotations(kind)
    yield from vars(kind).get("__slots__", ())
    for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(kind)))):
        targets = [node.target] if isinstance(node, ast.AnnAssign) else getattr(node, "targets", ())
        for target in targets:
            if isinstance(target, ast.Attribute) and ast.unparse(target.value) == "self":
                yield target.attr


def manual(kind: type) -> str:
    """Return what the docstrings say of a class's values, its own and those it refers to."""
    text = " ".join(inspect.getdoc(it) or "" for it in ours(kind))
    if is_typeddict(kind):
        # A dict of options may refer to the manual of what it is handed on to.
        referred = (it for it in CLASSES if re.search(rf"\b{it.__name__}\b", text))
        text += " ".join(inspect.getdoc(it) or "" for it in referred)
    return text


def documented() -> Iterator[tuple[str, str]]:
    """Yield each docstring that help() shows of a public name, by where it is."""
    for function in FUNCTIONS:
        yield function.__qualname__, inspect.getdoc(function) or ""
    for kind in CLASSES:
        yield kind.__name__, inspect.getdoc(kind) or ""
        for name, member in members(kind).items():
            yield f"{kind.__name__}.{name}", inspect.getdoc(member) or ""


@pytest.mark.parametrize("kind", CLASSES, ids=lambda it: it.__name__)
def test_every_public_class_explains_itself_its_methods_and_its_values(kind: type) -> None:
    text = manual(kind)
    missing = [name for name, it in members(kind).items() if not inspect.getdoc(it)]
    missing += [
        name
        for name in attributes(kind) - members(kind).keys()
        if f"`{name}`" not in text and f"`{name}=" not in text
    ]

    assert missing == []
    # Otherwise dataclass has made it.
    assert kind.__doc__
    assert not kind.__doc__.startswith(f"{kind.__name__}(")


@pytest.mark.parametrize(
    "kind", [it for it in CLASSES if issubclass(it, Enum)], ids=lambda it: it.__name__
)
def test_every_member_of_a_public_enum_is_explained(kind: type[Enum]) -> None:
    listed = set(re.findall(r"^- `(\w+)`", inspect.getdoc(kind) or "", re.MULTILINE))

    assert listed == {it.value for it in kind}


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda it: it.__name__)
def test_every_public_function_explains_itself(function: FunctionType) -> None:
    assert inspect.getdoc(function)


@pytest.mark.parametrize("name", VALUES)
def test_every_public_alias_has_a_docstring_below_it(name: str) -> None:
    assert below(name)


def below(name: str) -> str | None:
    """Return the text that stands below the definition of a value, in the file that has it."""
    for module in _modules_with(name):
        body = ast.parse(inspect.getsource(module)).body
        for node, following in pairwise(body):
            targets = [node.target] if isinstance(node, ast.AnnAssign) else []
            targets += node.targets if isinstance(node, ast.Assign) else []
            if any(isinstance(it, ast.Name) and it.id == name for it in targets):
                return _text_of(following)
    return None


def _modules_with(name: str) -> Iterable[ModuleType]:
    roots = {package.__name__ for package in PACKAGES}
    loaded = [it for path, it in sys.modules.items() if path.partition(".")[0] in roots]
    return [it for it in loaded if name in vars(it)]


def _text_of(node: ast.stmt) -> str | None:
    value = node.value if isinstance(node, ast.Expr) else None
    text = value.value if isinstance(value, ast.Constant) else None
    return text if isinstance(text, str) else None


# The reference renders docstrings as Markdown.
@pytest.mark.parametrize(
    ("where", "text"), list(documented()), ids=[where for where, _ in documented()]
)
def test_docstrings_are_markdown(where: str, text: str) -> None:
    lines = text.splitlines()
    outside_code = [line for line in lines if not line.startswith("    ")]
    begins_list = [
        above
        for above, line in pairwise(lines)
        if line.startswith("- ") and not above.startswith(("- ", "  "))
    ]

    assert not re.search(r":(class|meth|func|attr|mod|exc|data|obj):`", text), "a reST role"
    assert not [line for line in outside_code if re.search(r"\S {2,}\S", line)], "columns"
    assert not any(begins_list), "a list needs a blank line above it"


@pytest.mark.parametrize(
    ("function", "options"),
    [
        (taskmanager.TaskManager.registerHandler, taskmanager.HandlerOptions),
        (taskmanager.TaskManager.emit, taskmanager.EmitArguments),
    ],
    ids=["registerHandler", "emit"],
)
def test_help_lists_the_options_as_their_manual_does(function: object, options: type) -> None:
    for text in (inspect.getdoc(function), inspect.getdoc(options)):
        listed = set(re.findall(r"^- `(\w+)`", text or "", re.MULTILINE))
        assert listed >= options.__annotations__.keys() - OTHER_NAMES
