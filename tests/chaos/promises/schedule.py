"""The schedule: each fire time is one job, from the first emit until it is paused."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from processors.schedules.schedule import fire_of
from tests.chaos.blame import Blame
from tests.chaos.history import History
from tests.chaos.verdict import Rules, Violation
from tests.chaos.workload import LINE

# Of the schedule, EVERY_SECOND.
_FIRE_MS = 1000
# A worker that is there for so long has fired what was missed before.
_CATCHES_UP = 2.0
# On a loaded machine a fire may be so late, and the pause comes before it then.
_PROMPT = 3.0
# When Redis has lost the schedule it is registered anew within so many seconds.
_REGISTERED = 5.0


def every_fire_once(history: History, rules: Rules) -> Iterator[Violation]:
    """Each fire time between the first and the last has its job (G9); one: see emitted twice."""
    fired = _fired(history)
    for before, after in itertools.pairwise(sorted(fired)):
        if after - before != _FIRE_MS:
            text = f"nothing was fired between {before} and {after}"
            yield Violation("fire missing", text, at=fired[before])


def the_schedule_goes_on(history: History, rules: Rules) -> Iterator[Violation]:
    """It fires from before the first emit until the faults are over and it is paused."""
    tries = sorted((it for found in history.tries.values() for it in found), key=lambda it: it.at)
    healed = history.healed
    if healed is None or not tries or not history.came_up:
        return
    blame, begin = Blame(history, rules), tries[0]
    if not rules.keeps_data and blame.lost_at() + _REGISTERED > begin.at:
        begin = next((it for it in tries if it.at > blame.lost_at() + _REGISTERED), healed)
    workers = {it[0].name for it in history.starts.values() if it[0].queue != LINE}
    # What the last faults kept from being fired is not fired after the pause.
    until = (
        blame.last_there(workers, begin.at, healed.at, span=_CATCHES_UP, adding=True) or begin.at
    )
    last = healed.wall - (healed.at - until)
    yield from _not_fired(sorted(_fired(history)), begin.wall, last)


def _not_fired(fired: list[int], begin: float, last: float) -> Iterator[Violation]:
    """Yield what is missing between two wall times."""
    if last - begin < 2 * _PROMPT:
        return
    if not fired:
        yield Violation("fire missing", f"nothing was ever fired in {last - begin:.0f} s")
    elif fired[0] / 1000 > begin + _PROMPT:
        text = f"nothing was fired in the first {fired[0] / 1000 - begin:.1f} s"
        yield Violation("fire missing", text, at=float("inf"))
    elif fired[-1] / 1000 < last - _PROMPT:
        text = f"nothing was fired in the last {last - fired[-1] / 1000:.1f} s"
        yield Violation("fire missing", text, at=float("inf"))


def _fired(history: History) -> dict[int, float]:
    """Return the fire times (ms) that became jobs, each with when that job was first seen."""
    return {
        fire[1]: history.known_from(it.name)
        for it in {*history.starts, *history.states()}
        if (fire := fire_of(it.job)) is not None
    }
