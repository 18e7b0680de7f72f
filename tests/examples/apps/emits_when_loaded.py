"""The Flask example, and a job that is emitted while gunicorn loads it."""

from __future__ import annotations

from jobs import build_report
from wsgi import app

__all__ = ["app"]

build_report.options(id="the-master").emit_sync("the master", 1)
