"""A web application that emits a job for each request; a WSGI server runs it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from taskmanager import TaskManager

tm = TaskManager(emit_timeout=20)


def application(
    environ: dict[str, Any], start_response: Callable[[str, list[tuple[str, str]]], object]
) -> Iterable[bytes]:
    """Emit the job that the path names, except for /up."""
    name = environ["PATH_INFO"].removeprefix("/")
    created = name == "up" or tm.emit_sync("nap", id=name).created
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(created).encode()]
