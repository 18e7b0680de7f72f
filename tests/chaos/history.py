"""The records of a run, put in order: who tried what, what ran, how it ended."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import NamedTuple

from tests.chaos.snapshot import End, Snapshot
from tests.chaos.workload import WORK
from tests.support.oracle import Record

# Verdicts after which a generation of a job is over, and those after which it goes on.
ENDS = frozenset({"completed", "dead", "cancelled"})
GOES_ON = frozenset({"retried", "released"})
VERDICTS = ENDS | GOES_ON | {"fenced"}


class Name(NamedTuple):
    """A job: ids are per queue."""

    queue: str
    job: str


class Generation(NamedTuple):
    """One life of a job's id."""

    queue: str
    job: str
    generation: int

    @property
    def name(self) -> Name:
        return Name(self.queue, self.job)


class RunName(NamedTuple):
    """One delivery of a job to one process."""

    who: str
    queue: str
    job: str
    generation: int
    delivery: int


def name_of(record: Record) -> Name:
    """Return the job that a record is about."""
    return Name(record.queue, record.job)


def generation_of(record: Record) -> Generation:
    """Return the life of a job that a record is about."""
    return Generation(record.queue, record.job, record.generation)


def family_of(job: str) -> str:
    """Return the parent's id of a child, else the job's own."""
    return job.partition(".same-")[0].partition(".other-")[0]


def run_of(record: Record) -> RunName:
    """Return the run that a record is about."""
    return RunName(record.who, record.queue, record.job, record.generation, record.delivery)


class History:
    """Records and what Redis holds, by job. Nothing in it judges."""

    def __init__(self, records: Iterable[Record], snapshot: Snapshot | None = None) -> None:
        self.records = sorted(records, key=lambda record: record.at)
        # None while the run is still going on.
        self.snapshot = snapshot
        self.outcomes: defaultdict[Name, Counter[str]] = defaultdict(Counter)
        self.tries: defaultdict[Name, list[Record]] = defaultdict(list)
        self.acks: defaultdict[Name, list[Record]] = defaultdict(list)
        self.events: dict[Name, str] = {}
        # When a job ran for the first time, in monotonic seconds.
        self._seen_from: dict[Name, float] = {}
        self.due: dict[Name, float] = {}
        # The jobs that an emit became part of: itself, where these have no ids of their own.
        self.became: defaultdict[Name, set[Name]] = defaultdict(set)
        self.starts: defaultdict[Generation, list[Record]] = defaultdict(list)
        self.raised: defaultdict[Generation, list[Record]] = defaultdict(list)
        # The last verdict of a run, whatever it was.
        self.verdicts: dict[RunName, Record] = {}
        # Verdicts that end a generation, in their order.
        self.ended: defaultdict[Generation, list[Record]] = defaultdict(list)
        self.gone_on: set[RunName] = set()
        self.fenced: list[Record] = []
        # Queue and id of the children that a run declared.
        self.children: defaultdict[RunName, set[Name]] = defaultdict(set)
        self.faults: list[Record] = []
        self.died: list[Record] = []
        # Who began with the context variables of a run that is not its own.
        self.leaked: list[Record] = []
        # Of each process the letters that its callback was given, and its orderly end.
        self.told: defaultdict[str, list[Record]] = defaultdict(list)
        self.down: dict[str, Record] = {}
        # Producers that began, and worker processes that came up.
        self.began: list[Record] = []
        # When a producer was told that the faults are over; None when none was there to hear.
        self.healed: Record | None = None
        self.came_up: defaultdict[str, list[Record]] = defaultdict(list)
        for record in self.records:
            self._file(record)

    def states(self) -> dict[Generation, set[str]]:
        """Return how each generation ended, by the log and by Redis; one state, if all is well."""
        found: defaultdict[Generation, set[str]] = defaultdict(set)
        for generation, verdicts in self.ended.items():
            found[generation] |= {verdict.what for verdict in verdicts}
        for end in self.snapshot.ends if self.snapshot else ():
            found[Generation(end.queue, end.job, end.generation)].add(end.state)
        return dict(found)

    def stored(self) -> dict[Name, list[End]]:
        """Return what Redis says of how jobs ended, over all lives of their ids."""
        found: defaultdict[Name, list[End]] = defaultdict(list)
        for end in self.snapshot.ends if self.snapshot else ():
            found[Name(end.queue, end.job)].append(end)
        return dict(found)

    def verdict_at(self, run: Record) -> float | None:
        """Return when a run's verdict was written down, None when it never was.

        A process may run a delivery of the same number again, once the group was made anew.
        """
        verdict = self.verdicts.get(run_of(run))
        return None if verdict is None or verdict.at < run.at else verdict.at

    def process_at(self, name: str, at: float) -> str | None:
        """Return which process had a name at a time, None before the first."""
        ups = [it.who for it in self.came_up.get(name, ()) if it.at <= at]
        return ups[-1] if ups else None

    def emitted_for(self) -> float:
        """Return for how many seconds jobs were emitted."""
        tries = [records[0].at for records in self.tries.values()]
        last = max(tries, default=0.0) if self.healed is None else self.healed.at
        return last - min(tries, default=last)

    def known_from(self, name: Name) -> float:
        """Return when a job was first heard of, by its parent if it is a child; 0 if never."""
        family = Name(WORK, family_of(name.job))
        tried = self.tries.get(name) or self.tries.get(family)
        return tried[0].at if tried else self._seen_from.get(name, 0.0)

    def committed_runs(self) -> set[RunName]:
        """Return the runs that completed their job, by the log and by their results in Redis."""
        found = {
            run_of(verdict)
            for verdicts in self.ended.values()
            for verdict in verdicts
            if verdict.what == "completed"
        }
        return found | set(self.stored_runs())

    def stored_runs(self) -> dict[RunName, Generation]:
        """Return the runs whose results Redis holds."""
        found = {}
        for end in self.snapshot.ends if self.snapshot else ():
            if end.state == "completed" and isinstance(end.value, dict):
                run = RunName(
                    end.value["who"], end.queue, end.job, end.generation, end.value["delivery"]
                )
                found[run] = Generation(end.queue, end.job, end.generation)
        return found

    def about(self, job: str) -> list[Record]:
        """Return what concerns a job, its parent or its children, and the faults meanwhile."""
        family = family_of(job)
        own = [it for it in self.records if it.job == family or it.job.startswith(f"{family}.")]
        if not own:
            return []
        first, last = own[0].at - 1.0, own[-1].at + 1.0
        return [
            it
            for it in self.records
            if it in own or (it.what == "fault" and first <= it.at <= last)
        ]

    def _file(self, record: Record) -> None:
        match record.what:
            case "try":
                self.outcomes[name_of(record)]["tried"] += 1
                self.events[name_of(record)] = record.event
                self.tries[name_of(record)].append(record)
                if record.due:
                    # Of several tries it may be the first that counted.
                    self.due.setdefault(name_of(record), record.due)
            case "ack":
                self.outcomes[name_of(record)]["ack"] += 1
                self.acks[name_of(record)].append(record)
                self.became[name_of(record)].add(Name(record.queue, record.on or record.job))
            case "refused" | "unknown" | "not_sent" | "error":
                self.outcomes[name_of(record)][record.what] += 1
            case "start":
                self.events[name_of(record)] = record.event
                self.starts[generation_of(record)].append(record)
                self._seen_from.setdefault(name_of(record), record.at)
            case "raised":
                self.raised[generation_of(record)].append(record)
            case "child":
                self.children[run_of(record)].add(Name(record.on, record.detail))
            case _:
                self._file_rest(record)

    def _file_rest(self, record: Record) -> None:
        if record.what in VERDICTS:
            self.verdicts[run_of(record)] = record
        match record.what:
            case what if what in ENDS:
                self.ended[generation_of(record)].append(record)
            case what if what in GOES_ON:
                self.gone_on.add(run_of(record))
            case "fenced":
                self.fenced.append(record)
            case "fault":
                self.faults.append(record)
            case "died":
                self.died.append(record)
            case _:
                self._file_processes(record)

    def _file_processes(self, record: Record) -> None:
        match record.what:
            case "leaked":
                self.leaked.append(record)
            case "told":
                self.told[record.who].append(record)
            case "down":
                self.down[record.who] = record
            case "began":
                self.began.append(record)
            case "healed":
                self.healed = record
            case "up":
                self.came_up[record.name].append(record)
