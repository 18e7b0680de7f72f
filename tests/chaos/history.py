"""The records of a run, put in order: who tried what, what ran, how it ended."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import NamedTuple

from tests.chaos.snapshot import Snapshot
from tests.support.oracle import Record

# Verdicts after which a generation of a job is over, and those after which it goes on.
ENDS = frozenset({"completed", "dead", "cancelled"})
GOES_ON = frozenset({"retried", "released"})


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
        self.events: dict[Name, str] = {}
        self.due: dict[Name, float] = {}
        # The jobs that an emit became part of, where they have ids of their own.
        self.became: defaultdict[Name, set[Name]] = defaultdict(set)
        # When it was first tried, in monotonic seconds.
        self.tried_at: dict[Name, float] = {}
        self.starts: defaultdict[Generation, list[Record]] = defaultdict(list)
        self.raised: defaultdict[Generation, list[Record]] = defaultdict(list)
        # Verdicts that end a generation, in their order.
        self.ended: defaultdict[Generation, list[Record]] = defaultdict(list)
        self.gone_on: set[RunName] = set()
        self.fenced: list[Record] = []
        # Queue and id of the children that a run declared.
        self.children: defaultdict[RunName, set[Name]] = defaultdict(set)
        self.faults: list[Record] = []
        self.died: list[Record] = []
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
        family = job.partition(".same-")[0].partition(".other-")[0]
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
                self.tried_at.setdefault(name_of(record), record.at)
                if record.due:
                    # Of several tries it may be the first that counted.
                    self.due.setdefault(name_of(record), record.due)
            case "ack" if record.on not in ("", record.job):
                self.outcomes[name_of(record)]["ack"] += 1
                self.became[name_of(record)].add(Name(record.queue, record.on))
            case "ack" | "refused" | "unknown" | "not_sent" | "error":
                self.outcomes[name_of(record)][record.what] += 1
            case "start":
                self.events[name_of(record)] = record.event
                self.starts[generation_of(record)].append(record)
            case "raised":
                self.raised[generation_of(record)].append(record)
            case "child":
                self.children[run_of(record)].add(Name(record.on, record.detail))
            case _:
                self._file_rest(record)

    def _file_rest(self, record: Record) -> None:
        if record.what in ENDS:
            self.ended[generation_of(record)].append(record)
        elif record.what in GOES_ON:
            self.gone_on.add(run_of(record))
        elif record.what == "fenced":
            self.fenced.append(record)
        elif record.what == "fault":
            self.faults.append(record)
        elif record.what == "died":
            self.died.append(record)
