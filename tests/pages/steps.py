"""Read a page of the docs as the steps that its reader would take."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]

_LANGUAGES = ("python", "console", "text", "ini", "yaml", "toml", "json", "dockerfile")
# A fence and its language, with a title that names a file; or a comment that speaks to the test.
_STEP = re.compile(
    rf"^(?P<indent> *)```(?P<language>{'|'.join(_LANGUAGES)})"
    r"(?: title=\"(?P<title>[^\"]+)\")?\n"
    r"(?P<code>.*?)^(?P=indent)```[ ]*$"
    r"|^<!-- test: (?P<verb>[a-z]+)(?P<rest>.*?)-->",
    re.DOTALL | re.MULTILINE,
)
_VERBS = {"hidden", "worker", "stop", "fresh", "prints", "raises", "requires"}
# What a reader of the page, but not the pattern above, would take for one of these.
_MISWRITTEN = re.compile(r"^[\s>]*(?:```|~~~)|<!--\s*tests?\b")


@dataclass(frozen=True)
class Step:
    """A thing to do: run code, write a file, or what a comment asks for.

    verb is "run", "file" or that of the comment; text is the code, or what follows the verb.
    """

    verb: str
    text: str
    line: int
    language: str = ""
    title: str = ""


def steps(page: str) -> list[Step]:
    """Return the steps of a page, given its text, in the order of reading.

    Raises ValueError for a block or a comment that no test would run.
    """
    rest = _STEP.sub(lambda it: re.sub(r"[^\n]", "", it[0]), page)
    for line, text in enumerate(rest.splitlines(), 1):
        if _MISWRITTEN.search(text):
            raise ValueError(f"line {line}: write it as the others are: {text.strip()}")
    return list(_steps(page))


def _steps(page: str) -> Iterator[Step]:
    for match in _STEP.finditer(page):
        line = page.count("\n", 0, match.start()) + 2
        if verb := match["verb"]:
            if verb not in _VERBS:
                raise ValueError(f"line {line - 1}: no such step: {verb}")
            yield Step(verb, match["rest"].strip(), line)
        elif match["title"] or match["language"] == "python":
            code = _outdented(match["code"], len(match["indent"]))
            title = match["title"] or ""
            yield Step("file" if title else "run", code, line, match["language"], title)


def _outdented(code: str, width: int) -> str:
    return "".join(
        line[width:] if line[:width].isspace() else line for line in code.splitlines(True)
    )


def required(page: str) -> list[str]:
    """Return the modules without which a page cannot be run."""
    return [step.text for step in steps(page) if step.verb == "requires"]
