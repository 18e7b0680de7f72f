"""The state machine: in each step it does one thing to the broker and to the model alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule

from consumers.jobs.envelope import NewJob
from consumers.jobs.outcome import Completed, Outcome
from consumers.store.schedule_record import Record
from consumers.store.scripts import Call
from tests.model.choices import (
    CHILDREN,
    CONSUMERS,
    IDS,
    OUTCOMES,
    QUEUES,
    WANTED,
    WRITERS,
    Wanted,
)  # fmt: skip
from tests.model.laws import check
from tests.model.offers import Offers, Page, Words, of_state, when
from tests.model.state import Token

SECOND = 1000

Settled = tuple[Token, Outcome, Sequence[NewJob]]


def agree(answer: object, expected: object) -> None:
    """Fail unless Redis answered what the model says."""
    assert answer == expected, f"Redis says {answer}, the model {expected}"


class BrokerMachine(Offers):
    """Drives two queues of an empty Redis and compares them with their models."""

    # Batches through the door

    def _through(self, queue: str, writer: str, batch: Call, expected: Words) -> None:
        answer = self.broker.send(queue, batch)
        self.sent.setdefault((queue, writer), []).append((batch, answer))
        agree(answer, expected)

    def _emit(
        self, queue: str, jobs: Sequence[NewJob], writer: str = "w1", depth: int | None = None
    ) -> None:
        batch = self.broker.emit(queue, writer, jobs, depth)
        self._through(queue, writer, batch, self.models[queue].emit(jobs, depth))

    @initialize(wanted=st.lists(WANTED, max_size=4), places=st.integers(0, 2))
    def begin(self, wanted: list[Wanted], places: int) -> None:
        """Begin in the middle: jobs have been emitted, and some are running."""
        self._emit("a", [it.job("a") for it in wanted] or [Wanted("x", "e", 0, 0, "", "").job("a")])
        self.redis_holds_what_the_model_holds()
        for _, place in self.readable()[:places]:
            self._fetch("a", place, "me", 2)

    @rule(queue=QUEUES, wanted=WANTED)
    def emit(self, queue: str, wanted: Wanted) -> None:
        self._emit(queue, [wanted.job(queue)])

    @rule(
        queue=QUEUES,
        wanted=st.lists(WANTED, min_size=2, max_size=4),
        writer=st.sampled_from(WRITERS),
        depth=st.sampled_from((None, None, None, 2)),
    )
    def emit_many(self, queue: str, wanted: list[Wanted], writer: str, depth: int | None) -> None:
        self._emit(queue, [it.job(queue) for it in wanted], writer, depth)

    def _settle(
        self, queue: str, consumer: str, settled: Sequence[Settled], writer: str = "w1"
    ) -> None:
        if not settled:
            return
        settled = [(replace(token, consumer=consumer), it, jobs) for token, it, jobs in settled]
        batch = self.broker.settle(queue, writer, consumer, settled)
        self._through(queue, writer, batch, self.models[queue].settle(settled))

    @when(Offers.owned)
    @rule(chosen=of_state(Offers.owned), outcome=OUTCOMES, children=CHILDREN)
    def settle(
        self, chosen: tuple[str, Token], outcome: Outcome, children: list[tuple[str, Wanted]]
    ) -> None:
        queue, token = chosen
        jobs = [it.job(target) for target, it in children]
        given = jobs if isinstance(outcome, Completed) else ()
        self._settle(queue, token.consumer, [(token, outcome, given)])

    @when(Offers.tokens)
    @rule(
        first=of_state(Offers.tokens),
        more=st.lists(of_state(Offers.tokens), max_size=2),
        outcomes=st.tuples(OUTCOMES, OUTCOMES, OUTCOMES),
        consumer=st.sampled_from((None, None, None, *CONSUMERS)),
        miscounted=st.sampled_from((0, 0, 1, -1)),
        writer=st.sampled_from(WRITERS),
    )
    def settle_whatever(
        self,
        first: tuple[str, Token],
        more: list[tuple[str, Token]],
        outcomes: tuple[Outcome, ...],
        consumer: str | None,
        miscounted: int,
        writer: str,
    ) -> None:
        queue, token = first
        others = [other for name, other in more if name == queue]
        tokens = [replace(token, count=token.count + miscounted), *others]
        settled = [(it, outcome, ()) for it, outcome in zip(tokens, outcomes, strict=False)]
        self._settle(queue, consumer or token.consumer, settled, writer)

    @when(Offers.writers)
    @rule(who=of_state(Offers.writers), ago=st.sampled_from((1, 1, 2)))
    def repeat_a_batch(self, who: tuple[str, str], ago: int) -> None:
        """The reply of a writer's last batch was lost; or an older one arrives now."""
        if ago <= len(self.sent[who]):
            batch, answer = self.sent[who][-ago]
            expected = answer if ago == 1 else "WRITERREFUSED"
            agree(self.broker.send(who[0], batch), expected)

    # Deliveries

    def _fetch(
        self, queue: str, place: str, consumer: str, count: int, *, is_lost: bool = False
    ) -> list[Token]:
        model = self.models[queue]
        tokens = self.broker.fetch(queue, place, consumer, count)
        if tokens is None:
            assert place in model.groupless
            self.repair_a_lane((queue, place.removesuffix(":front")))
            return []
        runs = model.fetch(place, consumer, count)
        marks = [(run.entry, 1, bool(run.mark)) for run in runs]
        assert [(it.entry, it.count, it.cancelled) for it in tokens] == marks
        if not is_lost:
            self.known[queue] += tokens
        return tokens

    @when(Offers.readable)
    @rule(where=of_state(Offers.readable), consumer=st.sampled_from(CONSUMERS))
    def fetch(self, where: tuple[str, str], consumer: str) -> None:
        self._fetch(*where, consumer, 1)

    @when(Offers.readable)
    @rule(where=of_state(Offers.readable), consumer=st.sampled_from(CONSUMERS), outcome=OUTCOMES)
    def work(self, where: tuple[str, str], consumer: str, outcome: Outcome) -> None:
        tokens = self._fetch(*where, consumer, 1)
        self._settle(where[0], consumer, [(token, outcome, ()) for token in tokens])

    @when(Offers.readable)
    @rule(where=of_state(Offers.readable), consumer=st.sampled_from(CONSUMERS), children=CHILDREN)
    def work_with_children(
        self, where: tuple[str, str], consumer: str, children: list[tuple[str, Wanted]]
    ) -> None:
        jobs = [it.job(target) for target, it in children]
        tokens = self._fetch(*where, consumer, 1)
        self._settle(where[0], consumer, [(token, Completed(), jobs) for token in tokens])

    @when(Offers.places)
    @rule(
        where=of_state(lambda self: self.readable() or self.places()),
        consumer=st.sampled_from(CONSUMERS),
        is_lost=st.booleans(),
    )
    def fetch_many(self, where: tuple[str, str], consumer: str, is_lost: bool) -> None:
        self._fetch(*where, consumer, 3, is_lost=is_lost)

    @when(Offers.fresh)
    @rule(where=of_state(Offers.fresh))
    def leases_run_out(self, where: tuple[str, str]) -> None:
        queue, place = where
        self.broker.expire(queue, place)
        self.models[queue].expire([place])

    @when(Offers.held)
    @rule(
        where=of_state(lambda self: self.expired() or self.held()),
        runs_out=st.booleans(),
        consumer=st.sampled_from(CONSUMERS),
        want=st.integers(1, 3),
        knows=st.booleans(),
        is_lost=st.sampled_from((False, False, False, True)),
    )
    def reclaim(
        self,
        where: tuple[str, str],
        runs_out: bool,
        consumer: str,
        want: int,
        knows: bool,
        is_lost: bool,
    ) -> None:
        queue, place = where
        if runs_out:
            self.leases_run_out(where)
        if knows:
            # A consumer that goes on does not take its own back; one that crashed does.
            ours = [it for it in self.known[queue] if (it.place, it.consumer) == (place, consumer)]
            running = [token.entry for token in ours]
        else:
            running = []
        tokens = self.broker.reclaim(queue, place, consumer, want, running)
        runs = self.models[queue].reclaim(place, consumer, want, running)
        taken = [(run.entry, run.holder, bool(run.mark)) for run in runs]
        assert [(it.entry, (it.consumer, it.count), it.cancelled) for it in tokens] == taken
        if not is_lost:
            self.known[queue] += tokens

    @when(Offers.owned)
    @rule(first=of_state(Offers.tokens), more=st.lists(of_state(Offers.tokens), max_size=2))
    def renew(self, first: tuple[str, Token], more: list[tuple[str, Token]]) -> None:
        queue, token = first
        tokens = [token, *(it for name, it in more if name == queue)]
        tokens = [replace(it, consumer=token.consumer) for it in tokens]
        flags = self.broker.renew(queue, token.consumer, tokens)
        agree(flags, self.models[queue].renew(tokens))

    @when(Offers.owned)
    @rule(chosen=of_state(Offers.tokens), runs=st.sampled_from((None, 1, 2)), logs=st.booleans())
    def run_solo(self, chosen: tuple[str, Token], runs: int | None, logs: bool) -> None:
        queue, token = chosen
        if logs:
            agree(self.broker.log(queue, token), self.models[queue].log(token))
        # What was cancelled before it was handed out is never started.
        if token.cancelled:
            return
        before = self.broker.solo(queue, token, runs)
        agree(before, self.models[queue].solo(token, runs))
        if before >= 0 and runs is not None:
            self.known[queue].append(replace(token, was_solo=True))

    # Operators

    @when(Offers.live)
    @rule(chosen=of_state(Offers.live), named=st.sampled_from((0, 0, 1, 2)))
    def cancel(self, chosen: tuple[str, str, int], named: int) -> None:
        """Cancel a job: whichever run lives, this one, or another."""
        queue, job_id, generation = chosen
        meant = {0: None, 1: generation, 2: generation + 1}[named]
        answer = self.broker.queues[queue].cancel(job_id, meant)
        agree(answer, self.models[queue].cancel(job_id, meant))

    @when(Offers.dead)
    @rule(
        chosen=of_state(Offers.dead),
        more=st.lists(st.sampled_from(IDS), max_size=2),
        writer=st.sampled_from(WRITERS),
    )
    def replay(self, chosen: tuple[str, str], more: list[str], writer: str) -> None:
        queue, job_ids = chosen[0], [chosen[1], *more]
        batch = self.broker.replay(queue, writer, job_ids)
        self._through(queue, writer, batch, self.models[queue].replay(job_ids))

    @when(Offers.dead)
    @rule(chosen=of_state(Offers.dead))
    def purge(self, chosen: tuple[str, str]) -> None:
        queue, _ = chosen
        agree(self.broker.purge(queue), self.models[queue].purge())

    # Time

    @when(Offers.put_off)
    @rule(chosen=of_state(Offers.put_off), more=st.booleans())
    def a_job_becomes_due(self, chosen: tuple[str, str], more: bool) -> None:
        queue, job_id = chosen
        model = self.models[queue]
        due = self.broker.make_due(queue, job_id)
        model.make_due(next(run for run in model.put_off() if run.id == job_id), due)
        if not more:
            self._promote(queue, 1)

    @when(Offers.due)
    @rule(queue=of_state(Offers.due), most=st.integers(1, 3))
    def promote(self, queue: str, most: int) -> None:
        self._promote(queue, most)

    def _promote(self, queue: str, most: int) -> None:
        moved, wait_ms = self.broker.queues[queue].promote(most)
        model, now = self.models[queue], self.broker.queues[queue].now_ms()
        agree(moved, model.promote(now, most))
        left = model.put_off()
        assert (wait_ms == -1) == (not left)
        assert (wait_ms == 0) == bool(left and left[0].score <= now)

    @when(Offers.ending_keys)
    @rule(chosen=of_state(Offers.ending_keys))
    def a_key_runs_out(self, chosen: tuple[str, str]) -> None:
        queue, digest = chosen
        self.broker.forget_key(queue, digest)
        self.models[queue].forget_key(digest)

    # Upkeep

    @rule(
        queue=QUEUES,
        what=st.sampled_from(("look", "look", "wait", "open", "flush", "pause", "resume", "tidy")),
        job_id=st.sampled_from(IDS),
        event=st.sampled_from(("", "e", "f")),
    )
    def tend_a_queue(self, queue: str, what: str, job_id: str, event: str) -> None:
        it, model = self.broker.queues[queue], self.models[queue]
        if what == "look":
            self._look(queue, job_id, "")
        elif what == "wait":
            self._look(queue, job_id, f"who-asked-for-{event}")
        elif what == "open":
            self.broker.open(queue)
            model.open_queue(it.lane.name)
        elif what == "flush":
            self.broker.redis.script_flush()
        elif what == "tidy":
            for place in list(model.streams):
                self._tidy(queue, place)
        elif what == "pause":
            agree(it.pause(event or None), model.pause(event, pauses=True))
        else:
            agree(it.resume(event or None), model.pause(event, pauses=False))

    def _look(self, queue: str, job_id: str, channel: str) -> None:
        """Look up whatever there is of an id, and perhaps wait for its end."""
        model = self.models[queue]
        pointer, fields, *holder, result, _, letter, lane = self.broker.inspect(
            queue, job_id, channel
        )
        if channel:
            model.wait_for(job_id, channel)
        expected = model.look_up(job_id)
        assert (pointer.decode(), fields, (holder[0].decode(), holder[1])) == expected[:3]
        assert bool(result) == (job_id in model.results)
        assert (letter.decode(), lane.decode()) == expected[3:]

    @when(Offers.empty)
    @rule(where=of_state(Offers.empty))
    def tidy_what_is_empty(self, where: tuple[str, str]) -> None:
        self._tidy(*where)

    def _tidy(self, queue: str, place: str) -> None:
        """Forget the consumers of a stream that hold nothing; retire its lane."""
        lane = place.removesuffix(":front")
        if place in self.models[queue].streams and place not in self.models[queue].groupless:
            self.broker.forget(queue, place)
        agree(self.broker.retire(queue, lane), self.models[queue].retire(lane))

    # More of it would leave little that is running.
    @precondition(lambda self: self.held() and self.losses < 2)
    @rule(where=of_state(Offers.held))
    def lose_a_group(self, where: tuple[str, str]) -> None:
        queue, place = where
        self.losses += 1
        self.broker.lose_group(queue, place)
        self.models[queue].lose_group(place)

    @when(Offers.groupless)
    @rule(chosen=of_state(Offers.groupless))
    def repair_a_lane(self, chosen: tuple[str, str]) -> None:
        queue, lane = chosen
        agree(self.broker.repair(queue, lane), self.models[queue].repair(lane))

    # Schedules

    # Without a bound half of all steps would be these, for they are always possible.
    @precondition(lambda self: len(self.records) < 4)
    @rule(
        queue=QUEUES,
        digest=st.sampled_from(("d1", "d2")),
        version=st.integers(1, 2),
        ahead=st.sampled_from((0, 1, 1, 2, None)),
        confirm_only=st.sampled_from((False, False, True)),
    )
    def register_a_schedule(
        self, queue: str, digest: str, version: int, ahead: int | None, confirm_only: bool
    ) -> None:
        model = self.models[queue]
        slot = None if ahead is None else self._fired(queue) + ahead * SECOND
        answer = self.broker.queues[queue].register(
            slot=slot, digest=digest, version=version, confirm_only=confirm_only
        )
        expected = model.register("s", digest, version, slot, confirm_only=confirm_only)
        agree(answer, expected)
        self._remember_schedule(queue)

    def _fired(self, queue: str) -> int:
        """Return the last fire time, which is long ago by Redis' clock."""
        plan = self.models[queue].plans.get("s")
        return (plan and plan.fired) or SECOND

    def _remember_schedule(self, queue: str) -> None:
        record = self.broker.queues[queue].schedule()
        if record is not None and record.slot is not None:
            self.records.append((queue, record))

    @when(Offers.last_records)
    @rule(
        known=of_state(Offers.last_records),
        job_ids=st.lists(st.sampled_from(IDS), max_size=2, unique=True),
        slots=st.integers(1, 3),
        ends=st.booleans(),
        overlap=st.sampled_from(("allow", "skip", "queue")),
    )
    def fire(
        self, known: tuple[str, Record], job_ids: list[str], slots: int, ends: bool, overlap: str
    ) -> None:
        """Fire a schedule as somebody knows it, who may have been overtaken."""
        queue, record = known
        jobs = [Wanted(job_id, "e", 0, 0, "", "").job(queue) for job_id in job_ids]
        assert record.slot is not None
        latest = record.slot + (slots - 1) * SECOND
        given: dict[str, Any] = {
            "latest": latest,
            "following": None if ends else latest + SECOND,
            "overlap": overlap,
            "passed_over": max(0, slots - len(jobs)),
        }
        answer = self.broker.queues[queue].fire(record, *jobs, **given)
        expected = self.models[queue].fire("s", (record.digest, record.slot), jobs, **given)
        agree(answer, expected)
        self._remember_schedule(queue)

    @precondition(lambda self: self.records and any(it.plans for it in self.models.values()))
    @rule(
        known=of_state(Offers.last_records),
        what=st.sampled_from(("pause", "resume", "remove")),
        why=st.sampled_from(("by hand", "unregistered")),
        ahead=st.integers(0, 1),
        any_digest=st.booleans(),
    )
    def reschedule(
        self, known: tuple[str, Record], what: str, why: str, ahead: int, any_digest: bool
    ) -> None:
        queue, record = known
        given = str(self._fired(queue) + ahead * SECOND) if what == "resume" else why
        digest = "" if any_digest or what == "remove" else record.digest
        answer = self.broker.reschedule(queue, "s", what, given, digest)
        agree(answer, self.models[queue].reschedule("s", what, given, digest))
        self._remember_schedule(queue)

    # Children of other queues

    @when(Offers.outboxes)
    @rule(chosen=of_state(Offers.outboxes), most=st.integers(1, 3), is_lost=st.booleans())
    def relay(self, chosen: tuple[str, str], most: int, is_lost: bool) -> None:
        queue, target = chosen
        posted = [(it.entry or "", it.job) for it in self.models[queue].posted()[target][:most]]
        self._relay(queue, target, posted, is_lost=is_lost)
        self.relayed.append((queue, target, posted))

    @when(Offers.relayed_pages)
    @rule(page=of_state(Offers.relayed_pages))
    def relay_too_late(self, page: Page) -> None:
        self._relay(*page, is_lost=False)

    def _relay(
        self, queue: str, target: str, posted: list[tuple[str, NewJob]], *, is_lost: bool
    ) -> None:
        answer = self.broker.relay(queue, target, posted)
        agree(answer, self.models[target].take_in(queue, posted))
        if not is_lost:
            entries = [entry for entry, _ in posted]
            self.broker.delete_posted(queue, entries)
            self.models[queue].sent(entries)

    # After every step

    @invariant()
    def redis_holds_what_the_model_holds(self) -> None:
        before, self.seen = self.seen.now, self.broker.see()
        check(self.models, self.seen, before)
