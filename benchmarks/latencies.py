"""How long a job waits for an idle worker, and a worker's first job for its process."""

from __future__ import annotations

import time

from benchmarks.figures import Figures, percentiles
from benchmarks.roster import Contender, own_program
from benchmarks.setting import Setting

_SLOTS = 10
_WARM_UP = 5
_SECONDS = 60.0


def idle(setting: Setting, who: Contender) -> Figures:
    """Return the waits from emit to handler while nothing else is done; a job each 20 ms."""
    jobs = setting.sizes.scaled(500, quick=100)
    setting.clean()
    with setting.crew(who, _SLOTS, "wait") as crew:
        for count in (_WARM_UP, jobs):
            crew.marks.clear()
            setting.emit(who, "emit-paced", count, "wait")
            crew.until(count, within=_SECONDS, lines=True)
        return percentiles(crew.marks.waits_us())


def cold_start(setting: Setting, _: Contender) -> Figures:
    """Return the time from the start of a worker process to its first job, which waits for it."""
    setting.clean()
    setting.emit(own_program(), "emit", setting.sizes.scaled(100, quick=100))
    began = time.monotonic()
    with setting.crew(own_program(), _SLOTS) as crew:
        return {"first_mark_ms": (crew.first().at - began) * 1000}
