"""Annotations in every way they are written, some of names that only type checkers see."""

from __future__ import annotations

from typing import TYPE_CHECKING

import taskmanager
from taskmanager import injected

if TYPE_CHECKING:
    from decimal import Decimal

    import models

    from taskmanager import Context, Job


def imported_for_checkers_only(a: int, ctx: Context[dict[str, int]] = injected) -> None: ...
def job_for_checkers_only(a: int, it: Job = injected) -> None: ...
def by_module(a: int, ctx: taskmanager.Context = injected) -> None: ...
def in_quotes(a: int, ctx: Context[dict[str, int]] = injected) -> None: ...
def job_of_another_module(a: int, job: models.Job) -> None: ...
def unreadable(a: int, x: Decimal) -> None: ...
def forward(a: int, what: Later) -> None: ...


class Later:
    def __init__(self, a: int) -> None: ...
