"""A script that emits jobs that differ in nothing: ``keeps_emitting.py URL COUNT``."""

from __future__ import annotations

import sys
from typing import Any

from taskmanager import TaskManager

tm: TaskManager[Any] = TaskManager(sys.argv[1], emit_timeout=30)
for number in range(int(sys.argv[2])):
    tm.emit_sync("nap", deduplicate=False)
    print("emitted", number + 1)
