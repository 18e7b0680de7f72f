"""What a worker asks of Redis and of its own core while there is nothing to do."""

from __future__ import annotations

import time

from benchmarks.figures import Figures
from benchmarks.meter import Reading
from benchmarks.roster import Contender, own_program
from benchmarks.setting import Crew, Setting

_SLOTS = 10
_WARM_UP_SECONDS = 60.0
# What follows a last job, its settling and a first look of each service, is over by then.
_CALM_S = 2.0
_WATCHED_S = 10.0
_WATCHED_QUICK_S = 5.0
# The two INFO of the first reading: each is counted when it has been answered.
_OUR_COMMANDS = 2


def worker(setting: Setting, _: Contender) -> Figures:
    """Return the commands a second and the CPU of a worker that waits for jobs."""
    setting.clean()
    with setting.crew(own_program(), _SLOTS) as crew:
        setting.emit(own_program(), "emit", 1)
        crew.until(1, within=_WARM_UP_SECONDS)
        time.sleep(_CALM_S)
        before, after, seconds = _watch(setting, crew)
    figures = {"commands_per_s": (after.commands - before.commands - _OUR_COMMANDS) / seconds}
    if before.worker_cpu_s is not None and after.worker_cpu_s is not None:
        figures["cpu_percent"] = (after.worker_cpu_s - before.worker_cpu_s) / seconds * 100
    return figures


def _watch(setting: Setting, crew: Crew) -> tuple[Reading, Reading, float]:
    with setting.server.client() as client:
        before, began = Reading.now(client, crew.leaders), time.monotonic()
        time.sleep(_WATCHED_QUICK_S if setting.quick else _WATCHED_S)
        return before, Reading.now(client, crew.leaders), time.monotonic() - began
