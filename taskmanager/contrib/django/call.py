"""A call of a task, as the data of its job."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class TaskCall:
    """The arguments of a task call, and what Django will ask about it later.

    `args` and `kwargs` are the arguments. `at` is when it was enqueued, by the clock of that
    machine. Any program may emit such a job, so all keys may be missing.
    """

    args: list[Any] = field(default_factory=list)
    kwargs: dict[str, Any] = field(default_factory=dict)
    at: datetime | None = None
    priority: int = 0
    run_after: datetime | None = None

    def as_data(self) -> dict[str, Any]:
        """Return it as JSON values, without what is at its default."""
        data: dict[str, Any] = {"args": self.args, "kwargs": self.kwargs}
        if self.at is not None:
            data["at"] = self.at.isoformat()
        if self.priority:
            data["priority"] = self.priority
        if self.run_after is not None:
            data["run_after"] = self.run_after.isoformat()
        return data

    @classmethod
    def read(cls, data: object) -> Self:
        """Return the call in a job's data; raises ValueError if it is not one."""
        found = data if isinstance(data, dict) else {"args": None}
        args, kwargs, priority = (
            found.get("args", []),
            found.get("kwargs", {}),
            found.get("priority", 0),
        )
        if not (isinstance(args, list) and isinstance(kwargs, dict) and type(priority) is int):
            raise ValueError(
                f"{data!r:.200} is not the call of a task: give "
                '{"args": [...], "kwargs": {...}}'
            )
        return cls(args, kwargs, _time(found.get("at")), priority, _time(found.get("run_after")))


def _time(given: object) -> datetime | None:
    return None if given is None else datetime.fromisoformat(str(given))
