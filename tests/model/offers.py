"""What the machine may choose from in its state: deliveries, streams, jobs, letters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import redis as redis_py
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition

from consumers.jobs.envelope import NewJob
from consumers.store.schedule_record import Record
from consumers.store.scripts import Call
from tests.model.broker import Broker
from tests.model.model import Model
from tests.model.state import Token

Words = list[str] | str
# A batch as it was sent, and what was answered.
Sent = tuple[Call, Words]
# What a relay sent on: from a queue, to a queue, entries of the outbox.
Page = tuple[str, str, list[tuple[str, NewJob]]]


def of_state(choices: Callable[[Any], Sequence[Any]]) -> st.SearchStrategy[Any]:
    """Draw one of what the machine offers now."""
    return st.runner().flatmap(lambda machine: st.sampled_from(choices(machine)))


def when(offers: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Allow a rule while the machine offers something."""
    return precondition(lambda machine: bool(offers(machine)))


class Offers(RuleBasedStateMachine):
    """Two queues, their models, and what was learned on the way."""

    def __init__(self, redis: redis_py.Redis) -> None:
        super().__init__()
        redis.flushall()
        self.broker = Broker(redis)
        self.models = {name: Model(name) for name in self.broker.queues}
        self.seen = self.broker.see()
        # Every delivery that anybody ever knew of, by queue, the latest last.
        self.known: dict[str, list[Token]] = {name: [] for name in self.models}
        self.sent: dict[tuple[str, str], list[Sent]] = {}
        self.relayed: list[Page] = []
        self.records: list[tuple[str, Record]] = []
        self.losses = 0

    def owned(self) -> list[tuple[str, Token]]:
        """Return the deliveries that are their consumers' still."""
        return [
            (name, token)
            for name, tokens in self.known.items()
            for token in tokens
            if self.models[name].owned(token)
        ]

    def lost(self) -> list[tuple[str, Token]]:
        """Return the deliveries whose entry is somebody else's by now, or nobody's."""
        return [
            (name, token)
            for name, tokens in self.known.items()
            for token in tokens
            if self.models[name].has_entry(token) and not self.models[name].owned(token)
        ]

    def tokens(self) -> list[tuple[str, Token]]:
        """Return deliveries: half of them still in force, the others' or long settled."""
        latest = [(name, token) for name, tokens in self.known.items() for token in tokens[-2:]]
        return [*self.owned() * 4, *self.lost() * 3, *latest]

    def places(self) -> list[tuple[str, str]]:
        """Return every stream that is there."""
        return [(name, place) for name, it in self.models.items() for place in it.streams]

    def grouped(self) -> list[tuple[str, str]]:
        """Return every stream whose group is there."""
        return [(name, it) for name, it in self.places() if it not in self.models[name].groupless]

    def readable(self) -> list[tuple[str, str]]:
        """Return the streams with something to read."""
        return [(name, it) for name, it in self.places() if self.models[name].waiting(it)]

    def held(self) -> list[tuple[str, str]]:
        """Return the streams with deliveries."""
        return [(name, it) for name, it in self.grouped() if self.models[name].pending(it)]

    def fresh(self) -> list[tuple[str, str]]:
        """Return the streams with deliveries whose lease has not run out."""
        return [
            (name, place)
            for name, place in self.held()
            if any(not run.expired for run in self.models[name].pending(place))
        ]

    def expired(self) -> list[tuple[str, str]]:
        """Return the streams with deliveries whose lease has run out."""
        return [
            (name, place)
            for name, place in self.held()
            if any(run.expired for run in self.models[name].pending(place))
        ]

    def empty(self) -> list[tuple[str, str]]:
        """Return the lanes that nothing needs."""
        return [
            (name, lane)
            for name, it in self.models.items()
            for lane in sorted(it.lanes)
            if it.is_unused(lane)
        ]

    def groupless(self) -> list[tuple[str, str]]:
        """Return the lanes with a lost group."""
        return [
            (name, place.removesuffix(":front"))
            for name, place in self.places()
            if place in self.models[name].groupless
        ]

    def put_off(self) -> list[tuple[str, str]]:
        """Return the jobs that are put off."""
        return [(name, run.id) for name, it in self.models.items() for run in it.put_off()]

    def due(self) -> list[str]:
        """Return the queues with jobs to promote."""
        return [
            name
            for name, it in self.models.items()
            if any(run.made_due is not None for run in it.put_off())
        ]

    def live(self) -> list[tuple[str, str, int]]:
        """Return the jobs that are live, with their run."""
        return [
            (name, job_id, generation)
            for name, it in self.models.items()
            for job_id, (generation, _) in it.live.items()
        ]

    def ending_keys(self) -> list[tuple[str, str]]:
        """Return the guards' keys that run out by themselves, but those of waiting storms."""
        return [
            (name, digest)
            for name, it in self.models.items()
            for digest, key in [*it.keys.items(), *it.storms.items()]
            if key.ends and not digest.startswith("t")
        ]

    def dead(self) -> list[tuple[str, str]]:
        """Return the jobs with a dead letter."""
        return [(name, letter.run.id) for name, it in self.models.items() for letter in it.letters]

    def outboxes(self) -> list[tuple[str, str]]:
        """Return the queues whose outbox holds something, and for whom."""
        return [(name, target) for name, it in self.models.items() for target in it.posted()]

    def writers(self) -> list[tuple[str, str]]:
        """Return the writers that have sent something."""
        return list(self.sent)

    def last_records(self) -> list[tuple[str, Record]]:
        """Return schedules as somebody knew them last."""
        return self.records[-3:]

    def relayed_pages(self) -> list[Page]:
        """Return what a relay sent on last."""
        return self.relayed[-2:]
