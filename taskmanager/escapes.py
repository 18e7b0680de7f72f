"""Make text from anywhere safe to print: payloads, errors, ids in Redis.

A terminal acts on control characters, and a newline inside a value looks like a second line.
"""

from __future__ import annotations

import json


def escaped(text: str) -> str:
    r"""Return text with unprintable characters as escapes: \n, \x1b, \u202e."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def escaped_lines(text: str, indent: str) -> str:
    """Return text with each line indented, and everything but its newlines escaped."""
    return "\n".join(indent + escaped(line) for line in text.rstrip("\n").split("\n"))


def escaped_json(text: str) -> str:
    """Return one line of JSON with unprintable characters as JSON escapes."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in text)
