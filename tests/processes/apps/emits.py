"""A script that emits jobs with ids: ``emits.py URL COUNT``. Prints how many were new."""

from __future__ import annotations

import sys
from typing import Any

from taskmanager import TaskManager

tm: TaskManager[Any] = TaskManager(sys.argv[1])
handles = [tm.emit_sync("nap", id=f"job-{number}") for number in range(int(sys.argv[2]))]
print("new:", sum(handle.created is True for handle in handles))
