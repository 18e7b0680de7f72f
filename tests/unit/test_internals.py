"""docs/internals.md names every room, and whom each calls, as the imports have it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "internals.md").read_text()
# Every room stands on these two: the page says so in one row only.
GROUND = {"jobs", "connections"}


def rooms(layer: str) -> set[str]:
    """Return the rooms of a layer: its folders with modules."""
    return {it.parent.name for it in (ROOT / layer).glob("*/__init__.py")}


def called(layer: str, room: str) -> set[str]:
    """Return the other rooms of the layer that modules of a room import."""
    found = set()
    for file in (ROOT / layer / room).rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(f"{layer}."):
                found.add((node.module or "").split(".")[1])
    return (found & rooms(layer)) - {room}


def said(layer: str) -> dict[str, set[str]]:
    """Return the rooms that each row of the layer's table says its room calls."""
    section = PAGE.partition(f"`{layer}/`\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)/`[^|]*\|[^|]*\|([^|]*)\|$", section, re.MULTILINE)
    return {room: set(re.findall(r"`(\w+)`", calls)) for room, calls in rows}


@pytest.mark.parametrize("layer", ["consumers", "processors", "taskmanager"])
def test_every_room_is_named(layer: str) -> None:
    section = PAGE.partition(f"`{layer}/`\n")[2].partition("\n## ")[0]

    assert [room for room in rooms(layer) if f"`{room}/`" not in section] == []


def test_rooms_of_the_engine_call_whom_the_page_says() -> None:
    for room, calls in said("consumers").items():
        others = called("consumers", room)
        assert calls == (others if room == "store" else others - GROUND), room


def test_rooms_of_the_facade_call_whom_the_page_says() -> None:
    for room, calls in said("taskmanager").items():
        if room != "cli":
            assert calls - {"processors"} == called("taskmanager", room), room
