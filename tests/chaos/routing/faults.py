"""The faults of a run: one begins with each batch of jobs, and lasts for a while."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence

from tests.chaos.plan import Step
from tests.chaos.routing.world import CAPABILITIES, EVENTS, Worker

_ASKED = ("settle", "XREADGROUP", "renew", "reclaim", "promote", "relay")


class Faults:
    """Draws faults; lease is in seconds. Their times count from their beginning."""

    def __init__(self, dice: random.Random, workers: Mapping[str, Worker], lease: float) -> None:
        self._dice = dice
        self._workers = workers
        self._lease = lease

    def draw(self) -> list[Step]:
        """Return the steps of the next fault."""
        kinds: Sequence[tuple[Callable[[], list[Step]], int]] = (
            (self._killed, 4), (self._left, 2), (self._stopped, 3), (self._unheard, 5),
            (self._reset, 2), (self._changed, 8), (self._paused, 4), (self._forgotten, 1),
        )  # fmt: skip
        (kind,) = self._dice.choices([it for it, _ in kinds], [weight for _, weight in kinds])
        return kind()

    def _one(self) -> str:
        return self._dice.choice([*self._workers])

    def _span(self, least: float, most: float) -> float:
        return round(self._dice.uniform(least, most), 2)

    def _lasting(
        self, begin: str, end: str, span: float, on: str = "", word: str = ""
    ) -> list[Step]:
        return [Step(0.0, begin, on, word=word, span=span), Step(span, end, on, word=word)]

    def _killed(self) -> list[Step]:
        return self._lasting("kill", "start", self._span(0.1, 2.0), self._one())

    def _left(self) -> list[Step]:
        return self._lasting("terminate", "start", self._span(0.1, 4.0), self._one())

    def _stopped(self) -> list[Step]:
        return self._lasting("pause", "resume", self._span(1.2, 2.0) * self._lease, self._one())

    def _unheard(self) -> list[Step]:
        on, word = self._dice.choice(
            [("producer", "emit"), *((it, self._dice.choice(_ASKED)) for it in self._workers)]
        )
        times = self._dice.randint(1, 3)
        return [Step(0.0, "lose-reply", on, times, word), Step(2.0, "keep-replies", on)]

    def _reset(self) -> list[Step]:
        return [Step(0.0, "reset", self._one())]

    def _changed(self) -> list[Step]:
        """Take some of what a worker can do, and perhaps give it something else."""
        name = self._one()
        base = self._workers[name].capabilities
        can = self._dice.sample(base, self._dice.randrange(len(base)))
        can += self._dice.sample(CAPABILITIES, self._dice.choice((0, 1)))
        word = ",".join(sorted({*can}))
        return [
            Step(0.0, "become", name, word=word),
            Step(self._span(0.1, 3.0), "become", name, word=",".join(base)),
        ]

    def _paused(self) -> list[Step]:
        event = self._dice.choice(("", *EVENTS, *EVENTS))
        return self._lasting("pause-event", "resume-event", self._span(0.2, 2.0), word=event)

    def _forgotten(self) -> list[Step]:
        """Somebody deletes what is known of the routes."""
        return [Step(0.0, "forget-routes")]
