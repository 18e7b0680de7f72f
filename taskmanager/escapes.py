"""Make text from anywhere harmless to who reads it: payloads, errors, ids in Redis.

A terminal obeys control characters, and a line that holds a newline passes for two.
"""

from __future__ import annotations

import json


def escaped(text: str) -> str:
    r"""Return text with what is not printable as escapes: \n, \x1b, \u202e."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def escaped_lines(text: str, indent: str) -> str:
    """Return text of several lines, escaped but for its newlines, each behind an indent."""
    return "\n".join(indent + escaped(line) for line in text.rstrip("\n").split("\n"))


def escaped_json(text: str) -> str:
    """Return JSON of one line with what is not printable as JSON's own escapes."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in text)
