"""What an emit returns: a job's name tag."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class JobHandle:
    """A job that was emitted.

    created is False when a job with this id was live already and is the one
    the handle stands for; None for a child that is added on its parent's
    success. run tells apart the runs of one id, growing; None where created is.
    """

    id: str
    queue: str
    created: bool | None
    run: int | None = None
