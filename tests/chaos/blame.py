"""Which faults explain that something was run again, was late or was lost, and for how long."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from tests.chaos.history import History
from tests.chaos.plan import excuses
from tests.chaos.verdict import Rules
from tests.chaos.workload import SPOILED
from tests.support.oracle import Record

# A silent connection is given up after so long: nobody says that it is dead.
_WATCHDOG = 10.0
# To connect again, on a loaded machine.
_RECONNECT = 2.0
# From the first line of a new process to its first fetch.
_START = 2.0
# How finely a time without a fault is looked for.
_STEP = 0.25
_ENDS_A_PROCESS = frozenset({"kill", "terminate", "end-loop"})


@dataclass(frozen=True, slots=True)
class Window:
    """While a fault lasts, from begin to end; on names its process, empty for all."""

    act: str
    on: str
    begin: float
    end: float
    words: frozenset[str]

    def meets(self, begin: float, end: float, *, after: float = 0.0) -> bool:
        """Whether it, and some seconds after it, has a moment of this time."""
        return self.begin <= end and self.end + after >= begin


class Blame:
    """The faults of a run, asked for what they explain.

    A process that is killed or told to end loses what it holds then, and nothing else; it is
    away until it is up again. Other faults count for their process, or for everybody, while
    they last and until who was cut off by them is back.
    """

    def __init__(self, history: History, rules: Rules) -> None:
        self._history = history
        self.lease = rules.lease
        # Until the lease of a dead worker has run out and somebody has swept.
        self.takeover = rules.lease * 1.5
        self._by_process: defaultdict[str, list[Window]] = defaultdict(list)
        for fault in history.faults:
            window = self._window(fault)
            if window.words:
                self._by_process[fault.on].append(window)

    def windows(self, *on: str) -> Iterable[Window]:
        """Yield the faults of some processes, an empty name for those of everybody."""
        for name in on:
            yield from self._by_process.get(name, ())

    def explains_rerun(self, run: Record, again: float) -> bool:
        """Whether a run that started may be followed by another at the time ``again``.

        It may when it was under way, or its verdict was, at some moment of a fault: who was
        handed out after that, or was over before, has nothing to do with it.
        """
        over = self._history.verdict_at(run)
        return any(
            window.begin <= again
            and (over is None or over >= window.begin)
            and run.at <= self._reaches(window)
            for window in self.windows("", run.name)
            if "rerun" in window.words or (run.queue == SPOILED and "spoils" in window.words)
        )

    def _reaches(self, window: Window) -> float:
        """Return until when runs begin that were handed out before a fault was over."""
        if window.act == "end-loop":
            # It goes on until its loop comes to that.
            return max(window.begin, window.end - _START)
        if window.act in _ENDS_A_PROCESS:
            return window.begin
        return window.end + self._delay_after(window)

    def is_well(self, process: str, begin: float, end: float) -> bool:
        """Whether nothing held a process up in this time, nor shortly before."""
        return not any(
            window.meets(begin, end, after=self._delay_after(window))
            for window in self.windows("", process)
            if "late" in window.words
        )

    def is_there(self, process: str, begin: float, end: float, *, adding: bool = False) -> bool:
        """Whether nothing cut a process off in this time; it may have been slowed down.

        adding: nor was Redis full, which takes no new jobs then.
        """
        return not any(
            window.meets(begin, end, after=self._delay_after(window))
            for window in self.windows("", process)
            if "rerun" in window.words or (adding and window.act == "fill-memory")
        )

    def last_there(
        self,
        processes: Iterable[str],
        begin: float,
        end: float,
        *,
        span: float,
        adding: bool = False,
    ) -> float:
        """Return the end of the last span seconds in which one of them was there; 0 if none."""
        names, at = list(processes), end
        while at - span >= begin:
            if any(self.is_there(it, at - span, at, adding=adding) for it in names):
                return at
            at -= _STEP
        return 0.0

    def spoils(self) -> list[Window]:
        """Return when the queue that is there for it was spoiled."""
        return [it for it in self.windows("") if "spoils" in it.words]

    def is_spoiled(self, record: Record) -> bool:
        """Whether something concerns a queue that is spoiled then, or was just before."""
        return record.queue == SPOILED and any(
            it.meets(record.at, record.at, after=_RECONNECT) for it in self.spoils()
        )

    def lost_at(self) -> float:
        """Return when Redis last may have lost what it held; 0.0 for never."""
        windows = [it for found in self._by_process.values() for it in found]
        return max((it.end for it in windows if "loss" in it.words), default=0.0)

    def _window(self, fault: Record) -> Window:
        act, begin, end = fault.detail.partition(" ")[0], fault.at, fault.at + fault.span
        if act == "stall":
            # It is noticed when it is over.
            begin, end = fault.at - fault.span, fault.at
        if act in _ENDS_A_PROCESS:
            ups = self._history.came_up.get(fault.on, ())
            end = next((it.at for it in ups if it.at > begin), end) + _START
        return Window(act, fault.on, begin, end, excuses(fault))

    def _delay_after(self, window: Window) -> float:
        return _WATCHDOG if window.act == "swallow" else _RECONNECT
