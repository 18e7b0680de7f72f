"""Histories made by hand, for the tests of the checker."""

from __future__ import annotations

from typing import Any

from tests.chaos.checks import Rules, Violation, check
from tests.chaos.history import ENDS, History
from tests.chaos.snapshot import End, Snapshot
from tests.chaos.workload import WORK
from tests.support.oracle import Record

RULES = Rules(lease=2.0)
LOSSY = Rules(lease=2.0, keeps_data=False)
W1, W2 = "worker-1.10", "worker-2.20"
# A run from its first delivery.
FIRST = {"generation": 1, "delivery": 1, "attempt": 1}


class Story:
    """Writes records, one second after another, about jobs of the kind ``quick``.

    Redis holds what the records say, and no more, where a test does not say what it holds.
    """

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.now = 100.0

    def note(self, what: str, who: str = "p.1", *, wait: float = 1.0, **fields: Any) -> Story:
        self.now += wait
        about = {"job": "a", "queue": WORK, "event": "quick", **fields}
        self.records.append(Record(what=what, who=who, at=self.now, wall=self.now, **about))
        return self

    def emitted(self, **fields: Any) -> Story:
        return self.note("try", **fields).note("ack", **fields)

    def run(self, who: str, *verdict: str, **fields: Any) -> Story:
        """A run from its start to its verdict, when there is one."""
        about = {**FIRST, **fields}
        self.note("start", who, **about)
        return self.note(verdict[0], who, **about) if verdict else self

    def failed(self, who: str, error: str, verdict: str = "retried", **fields: Any) -> Story:
        """A run that ended with an exception, and what was recorded then."""
        about = {**FIRST, **fields}
        return self.note("start", who, **about).note(
            "raised", who, **about, detail=error
        ).note(verdict, who, **about)  # fmt: skip

    def fault(self, act: str, on: str = "", span: float = 0.0, wait: float = 1.0) -> Story:
        return self.note(
            "fault", "rig.9", job="", queue="", event="", detail=act, on=on, span=span, wait=wait
        )

    def up(self, who: str, wait: float = 1.0) -> Story:
        return self.note("up", who, job="", queue="", event="", wait=wait)

    def healed(self) -> Story:
        return self.note("healed", job="", queue="", event="")

    def told(self, **more: Any) -> Snapshot:
        """Return what Redis holds when the records are right."""
        told = [it for it in self.records if it.what in ENDS]
        # A result makes place for that of the id's next life.
        results = {(it.queue, it.job): _result(it) for it in told}
        letters = [_letter(it) for it in told if it.what == "dead"]
        return Snapshot([*results.values(), *letters], **more)

    def found(self, snapshot: Snapshot | None = None, rules: Rules = RULES) -> list[str]:
        """Return what is wrong; hand-made histories may be short ones."""
        violations = self.violations(snapshot or self.told(), rules)
        return [it.check for it in violations if it.check != "too little"]

    def violations(self, snapshot: Snapshot | None, rules: Rules = RULES) -> list[Violation]:
        return check(History(self.records, snapshot), rules)


def completed(
    who: str, delivery: int = 1, generation: int = 1, job: str = "a", queue: str = WORK
) -> End:
    """A result that Redis holds."""
    return End(queue, job, generation, "completed", {"who": who, "delivery": delivery})


def letter(reason: str = "failed", job: str = "a", delivered: int = 1, lacks: str = "") -> End:
    """A dead letter."""
    return End(
        WORK, job, 1, "dead", reason, is_letter=True, delivered=delivered, lacks=lacks
    )  # fmt: skip


def _result(verdict: Record) -> End:
    run = {"who": verdict.who, "delivery": verdict.delivery}
    value = run if verdict.what == "completed" else verdict.detail
    return End(verdict.queue, verdict.job, verdict.generation, verdict.what, value)


def _letter(verdict: Record) -> End:
    return End(
        verdict.queue, verdict.job, verdict.generation, "dead", verdict.detail,
        is_letter=True, delivered=verdict.delivery,
    )  # fmt: skip
