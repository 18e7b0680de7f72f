"""An app that forgot its handlers."""

from __future__ import annotations

from typing import Any

from taskmanager import TaskManager

tm: TaskManager[Any] = TaskManager()
