"""Lay out what commands print for people: plain text, aligned, safe for a terminal."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from taskmanager.escapes import escaped, escaped_lines

_GAP = "  "
# The width of a payload in a list: with the columns before it, it fits a wide terminal.
BRIEF = 60
# Longer JSON is shown on several lines.
_ONE_LINE = 100


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return aligned columns, with numbers to the right; None is shown as a hyphen."""
    values = [list(row) for row in rows]
    cells = [list(header), *([_cell(value) for value in row] for row in values)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    numeric = [all(isinstance(row[at], int | None) for row in values) for at in range(len(header))]
    return "\n".join(_row(row, widths, numeric) for row in cells)


def fields(pairs: Iterable[tuple[str, object]]) -> str:
    """Return one line per pair, with the values aligned; pairs with None are left out."""
    known = [(name.replace("_", " "), _cell(value)) for name, value in pairs if value is not None]
    width = max((len(name) for name, _ in known), default=0)
    return "\n".join(f"{name:<{width}}{_GAP}{text}".rstrip() for name, text in known)


def section(name: str, text: str) -> str:
    """Return text of any number of lines, indented below its name."""
    return "\n".join([escaped(name), escaped_lines(text, _GAP)])


def brief(text: str, width: int = BRIEF) -> str:
    """Return text in one line of at most `width` characters."""
    # Escaping never makes text shorter, and texts may be large.
    line = escaped(text[: width + 1])
    return line if len(line) <= width else line[: width - 3] + "..."


def data(value: Any) -> str:
    """Return a payload or a result as JSON, on several lines if it is long."""
    line = json.dumps(value, ensure_ascii=False)
    return line if len(line) <= _ONE_LINE else json.dumps(value, ensure_ascii=False, indent=2)


def time_of(moment: datetime) -> str:
    """Return a time in UTC, to the second."""
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


def age_of(ms: int | None) -> str | None:
    """Return how long something has lasted, in its two largest units."""
    if ms is None:
        return None
    seconds = ms // 1000
    for unit, size, below, smaller in _UNITS:
        if seconds >= size:
            return f"{seconds // size}{unit} {seconds % size // smaller}{below}"
    return f"{ms / 1000:.1f}s" if seconds < 10 else f"{seconds}s"


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, datetime):
        return time_of(value)
    return f"{value:,}" if isinstance(value, int) else escaped(str(value))


def _row(cells: Sequence[str], widths: Sequence[int], numeric: Sequence[bool]) -> str:
    return _GAP.join(
        cell.rjust(width) if right else cell.ljust(width)
        for cell, width, right in zip(cells, widths, numeric, strict=True)
    ).rstrip()


_UNITS = (("d", 86400, "h", 3600), ("h", 3600, "m", 60), ("m", 60, "s", 1))
