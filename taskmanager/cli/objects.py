"""What `--json` prints: jobs, dead letters, queues, workers and so on as plain objects.

Times are ISO-8601 in UTC, names of durations end in `_ms`, bytes are base64.
"""

from __future__ import annotations

import base64
import dataclasses
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from consumers.admin.dead_letters import DeadLetter
    from consumers.admin.figures import QueueStats
    from consumers.admin.routes import RouteInfo
    from consumers.admin.workers import WorkerInfo
    from taskmanager.handles.info import JobInfo, LogLine, Progress, ScheduleInfo


def as_json(value: Any) -> str:
    """Return one line of JSON, in ASCII."""
    return json.dumps(plain(value))


def queue_object(name: str, stats: QueueStats) -> dict[str, Any]:
    """Return the figures of a queue under its name."""
    return {"queue": name, **plain(stats)}


def job_object(info: JobInfo, progress: Progress | None) -> dict[str, Any]:
    """Return everything that is known about a job."""
    letter = None if info.letter is None else letter_object(info.letter)
    return {
        **plain(info),
        "errors": [error_object(it) for it in info.errors],
        "letter": letter,
        "progress": plain(progress),
    }


def letter_object(letter: DeadLetter) -> dict[str, Any]:
    """Return a dead letter, without its place in Redis."""
    found = plain(letter)
    del found["entry"]
    return {**found, "errors": [error_object(it) for it in letter.errors]}


def schedule_object(info: ScheduleInfo) -> dict[str, Any]:
    """Return what is known about a schedule."""
    found: dict[str, Any] = plain(info)
    return found


def worker_object(info: WorkerInfo) -> dict[str, Any]:
    """Return what is known about a live worker."""
    found: dict[str, Any] = plain(info)
    return found


def route_object(info: RouteInfo) -> dict[str, Any]:
    """Return what is known about a route."""
    found: dict[str, Any] = plain(info)
    return found


def line_object(line: LogLine) -> dict[str, Any]:
    """Return a line of a job's log."""
    found: dict[str, Any] = plain(line)
    return found


def error_object(error: Mapping[str, Any]) -> dict[str, Any]:
    """Return one of a job's last errors, with times as text instead of ms."""
    started = error.get("started")
    found = {**error, "at": iso(happened(error))}
    return found if started is None else {**found, "started": iso(_moment(started))}


def happened(error: Mapping[str, Any]) -> datetime:
    """Return when one of a job's last errors happened."""
    return _moment(error["at"])


def _moment(ms: float) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)


def iso(moment: datetime) -> str:
    """Return a time as ISO-8601 in UTC, to the millisecond."""
    return f"{moment.astimezone(UTC).isoformat(timespec='milliseconds')[:-6]}Z"


def plain(value: Any) -> Any:
    """Return a value made only of JSON types."""
    if isinstance(value, datetime):
        return iso(value)
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {it.name: plain(getattr(value, it.name)) for it in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {name: plain(it) for name, it in value.items()}
    return [plain(it) for it in value] if isinstance(value, list | tuple) else value
