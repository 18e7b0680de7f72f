"""Turn what went wrong into text for people, of bounded length. Nothing here raises."""

from __future__ import annotations

import re
import traceback
from typing import Any

# A text longer than this keeps its head and, since the cause of an error stands at the end,
# three times as much of its tail.
ERROR_LIMIT = 16 * 1024
_TYPE_LIMIT = 200
_GAP = "\n... shortened ...\n"
_HOUR = 3600.0
_ODD = re.compile(r"[^A-Za-z0-9_.<>]")
# A metaclass may have a __name__ of its own, which may raise.
_NAME_OF: Any = vars(type)["__name__"]


def describe(error: BaseException) -> str:
    """Return the traceback as text of at most 16 KiB, without local variables."""
    try:
        text = "".join(traceback.format_exception(error))
    except BaseException:
        # An exception class may break its own formatting.
        text = f"{class_of(error)} (its traceback cannot be shown)"
    return shortened(text, ERROR_LIMIT)


def message_of(error: BaseException) -> str:
    """Return what an error says."""
    try:
        return str(error)
    except BaseException:
        return "(its text cannot be shown)"


def type_of(error: BaseException) -> str:
    """Return an error's class as "module.Class" in one word of at most 200 bytes.

    It is builtins.ValueError for one. What is in a name beside letters, digits and a few marks
    becomes a question mark: a class may be called anything.
    """
    kind = type(error)
    try:
        name = f"{kind.__module__}.{kind.__qualname__}"
    except BaseException:
        name = class_of(error)
    return _ODD.sub("?", name)[:_TYPE_LIMIT]


def class_of(error: BaseException) -> str:
    """Return the name of an error's class, whatever its metaclass does about that."""
    name: str = _NAME_OF.__get__(type(error))
    return name


def named(error: BaseException) -> str:
    """Return an error's class and what it says, in at most 16 KiB."""
    return shortened(f"{class_of(error)}: {message_of(error)}", ERROR_LIMIT)


def shown(value: object, limit: int) -> str:
    """Return how a value presents itself, in at most limit characters, all of them ASCII."""
    try:
        return ascii(value)[:limit]
    except BaseException:
        return f"a {type(value).__name__} that cannot be shown"


def within(text: str, limit: int) -> str:
    """Return a text as it is, or shortened where it may take more than limit bytes."""
    fits = not isinstance(text, str) or 4 * len(text) <= limit
    return text if fits else shortened(text, limit)


def shortened(text: str, limit: int) -> str:
    """Return a text that takes at most limit bytes, without what has no UTF-8."""
    data = text.encode("utf-8", "backslashreplace")
    if len(data) > limit:
        gap, head = _GAP.encode(), limit // 4
        data = data[:head] + gap + data[head + len(gap) - limit :]
    return data.decode("utf-8", "ignore")


def duration(seconds: float) -> str:
    """Return a duration as a person says it: "2.5 h" from an hour on, else "90 s"."""
    return f"{seconds / _HOUR:g} h" if seconds >= _HOUR else f"{seconds:g} s"
