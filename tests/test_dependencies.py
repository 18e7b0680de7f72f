"""What pages and examples import is what pyproject.toml says to install."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions

from tests.pages.steps import PAGES, ROOT, steps

OURS = {"consumers", "processors", "taskmanager", "tests", "benchmarks"}
# What a module needs in addition, and says so only when it is imported.
BESIDE = {"fastapi.testclient": "httpx2"}


def test_whatever_pages_and_examples_import_is_declared() -> None:
    declared = _declared()
    by_module = packages_distributions()

    missing = sorted(
        (where, module)
        for where, module in _imports()
        for needed in (module, BESIDE.get(module, module))
        if not declared & {_plain(it) for it in by_module.get(_top(needed), [_top(needed)])}
    )

    assert missing == []


def _declared() -> set[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].values()
    lines = [*project["dependencies"], *(line for extra in extras for line in extra)]
    return {_plain(re.split(r"[\[<>=~;! ]", line)[0]) for line in lines}


def _imports() -> Iterator[tuple[str, str]]:
    """Yield the modules that are neither ours, a page's or an example's, nor Python's."""
    theirs = OURS | set(sys.stdlib_module_names)
    sources = []
    for path in (ROOT / "examples").rglob("*.py"):
        theirs |= {path.stem, path.parent.name}
        if path.parent.name != "broken":
            sources.append((path.name, path.read_text()))
    for page in PAGES:
        for step in steps(page.read_text()):
            theirs.add(re.split(r"[./]", step.title)[0])
            if step.language == "python" or step.verb == "hidden":
                sources.append((page.name, step.text))
    for where, source in sources:
        yield from ((where, name) for name in _imported(source) if _top(name) not in theirs)


def _imported(source: str) -> Iterator[str]:
    for node in ast.walk(_tree(source)):
        if isinstance(node, ast.Import):
            yield from (it.name for it in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield node.module


def _tree(source: str) -> ast.Module:
    # Blocks may await at their top level.
    flags = ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    found = compile(source, "page", "exec", flags)
    assert isinstance(found, ast.Module)
    return found


def _top(module: str) -> str:
    return module.partition(".")[0]


def _plain(distribution: str) -> str:
    return re.sub(r"[-_.]+", "-", distribution).lower()
