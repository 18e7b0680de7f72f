"""A row of the table of reasons."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from consumers.admin.reasons.case import Case


class Row(NamedTuple):
    """A reason: its code, the case to which it applies, and its sentence there.

    may_be_detail is False for what holds only if nothing before it applies: that a job is next.
    """

    code: str
    applies: Callable[[Case], bool]
    sentence: Callable[[Case], str]
    may_be_detail: bool = True
