"""Sentences of explain without what is another each time."""

from __future__ import annotations

import re

from consumers.admin.explanation import Explanation

_TIME = re.compile(r"\b\d+(\.\d)? (s|min|h|d)( \d+ (s|min|h))?\b")
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


def plain(sentence: str) -> str:
    """Return a sentence without what is another each time."""
    named = re.sub(r"workers\+(?!0123)[0-9a-f]{12}", "R", sentence)
    return _TIME.sub("T", _MOMENT.sub("M", named))


def codes(it: Explanation) -> list[str]:
    return [it.reason, *(detail.reason for detail in it.details)]
