"""What a queue must hold and answer after each transition, in plain dicts, without a Redis.

Times and entry ids are Redis' own: the model leaves them open, and the laws fill them in when
they first see them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from consumers.jobs.envelope import NewJob
from consumers.jobs.lanes import Lane
from consumers.jobs.outcome import Buried, Cancelled, Completed, Outcome, Released, RetryAt
from tests.model.state import (
    MAX_EVENT_LANES,
    MAX_LANES,
    MOST_LETTERS,
    PUT_OFF,
    UNREGISTERED,
    Found,
    Guard,
    Key,
    Letter,
    Plan,
    Posted,
    Run,
    Token,
)  # fmt: skip


@dataclass
class Model:
    """One queue."""

    queue: str
    generation: int = 0
    # Every run that has a place, by generation; how each that has ended did.
    runs: dict[int, Run] = field(default_factory=dict)
    ended: dict[int, str] = field(default_factory=dict)
    # The index: id -> the generation that the id stands for, and its solo runs.
    live: dict[str, tuple[int, int]] = field(default_factory=dict)
    # Generations in the order of their entries, by stream.
    streams: dict[str, list[int]] = field(default_factory=dict)
    lanes: set[str] = field(default_factory=set)
    # Streams whose group is lost, and those where it ever was: no lag is promised there.
    groupless: set[str] = field(default_factory=set)
    regrouped: set[str] = field(default_factory=set)
    # The entry that a stream handed out last.
    handed: dict[str, str | None] = field(default_factory=dict)
    epochs: int = 0
    named: bool = False
    letters: list[Letter] = field(default_factory=list)
    letter_of: dict[str, Letter] = field(default_factory=dict)
    results: dict[str, tuple[Run, str, bytes | Letter]] = field(default_factory=dict)
    keys: dict[str, Key] = field(default_factory=dict)
    storms: dict[str, Key] = field(default_factory=dict)
    outbox: list[Posted] = field(default_factory=list)
    relayed: dict[str, str] = field(default_factory=dict)
    plans: dict[str, Plan] = field(default_factory=dict)
    waiters: dict[str, list[str]] = field(default_factory=dict)
    logs: Counter[str] = field(default_factory=Counter)
    paused: set[str] = field(default_factory=set)
    pause_state: int = 0
    stats: Counter[str] = field(default_factory=Counter)

    # Reading

    def knows_lag(self, place: str) -> bool:
        """Whether Redis 7.0 must know the lag of a stream's group: unless it was destroyed once."""
        return place not in self.regrouped

    def living(self, job_id: str) -> Run | None:
        """Return the run that an id stands for, unless it can but end as cancelled."""
        if job_id not in self.live:
            return None
        run = self.runs[self.live[job_id][0]]
        return None if run.mark else run

    def is_listed(self, run: Run) -> bool:
        """Whether the index leads to this very run."""
        return self.live.get(run.id, (0, 0))[0] == run.generation

    def put_off(self) -> list[Run]:
        """Return the runs that are put off, by when they are due."""
        runs = [run for run in self.runs.values() if run.place in PUT_OFF]
        return sorted(runs, key=lambda run: (run.score, run.id))

    def owned(self, token: Token) -> Run | None:
        """Return the run of a delivery that is still its consumer's."""
        if token.place in self.groupless:
            return None
        for generation in self.streams.get(token.place, ()):
            run = self.runs[generation]
            if (run.entry, run.holder) == (token.entry, (token.consumer, token.count)):
                return run
        return None

    def has_entry(self, token: Token) -> bool:
        """Whether the entry of a delivery is still there, whoever has it."""
        runs = (self.runs[generation] for generation in self.streams.get(token.place, ()))
        return any(run.entry == token.entry for run in runs)

    def waiting(self, place: str) -> list[Run]:
        """Return the runs of a stream that nobody has."""
        runs = (self.runs[generation] for generation in self.streams.get(place, ()))
        return [run for run in runs if run.holder is None]

    def pending(self, place: str) -> list[Run]:
        """Return the runs of a stream that somebody has."""
        runs = (self.runs[generation] for generation in self.streams.get(place, ()))
        return [run for run in runs if run.holder is not None]

    def look_up(self, job_id: str) -> tuple[str, list[bytes], tuple[str, int], str, str]:
        """Return a job's pointer, its entry's fields, who has it, its letter's entry, and lane.

        The lane is the one that it is in, its front told apart, or that it comes to.
        """
        letter = self.letter_of.get(job_id)
        buried = (letter.entry or "") if letter else ""
        if job_id not in self.live:
            return "", [], ("", 0), buried, ""
        run, solo = self.runs[self.live[job_id][0]], self.live[job_id][1]
        where = run.due if run.place in PUT_OFF else run.entry
        pointer = f"{run.generation} {solo} {run.place} {where}"
        lane = run.lane if run.place in PUT_OFF else run.place
        return pointer, run.fields, run.holder or ("", 0), buried, lane

    # Emit

    def emit(self, jobs: Iterable[NewJob], depth: int | None) -> list[str]:
        """Return the words of a batch."""
        runs = self.runs.values()
        # What was cancelled while it waited still has its place, but runs no more.
        over = sum(run.mark == "cancelled" for run in runs)
        held = sum(not run.place.startswith("event.") for run in runs) - over
        room = depth - max(0, held) if depth else 1000
        before = self.generation
        words = [self._emit(job, room - (self.generation - before)) for job in jobs]
        self._count_born(before)
        return words

    def _emit(self, job: NewJob, room: int) -> str:
        found = self._look(job)
        if (found is None or found.is_changed) and self._has_no_room([job.lane.name]):
            return "L"
        if found is not None:
            self._absorb(job, found)
            return found.word
        return f"+{self._admit(job)}" if room > 0 else "F"

    def _count_born(self, before: int) -> None:
        self.stats["emitted"] += self.generation - before
        self.named |= self.generation > before

    def _look(self, job: NewJob) -> Found | None:
        guard = Guard.of(job)
        if guard and (found := self._standing_for(guard)):
            return Found(found.id, found.generation, guard)
        run = self.living(job.id)
        return Found(job.id, run.generation) if run else None

    def _standing_for(self, guard: Guard) -> Key | None:
        key = (self.keys if guard.kind == "i" else self.storms).get(guard.digest)
        if key is None or guard.kind == "l":
            return key
        is_listed = self.live.get(key.id, (0, 0))[0] == key.generation
        if guard.kind == "t":
            return key if is_listed and self.runs[key.generation].place == "debounced" else None
        # A job that is being cancelled stands too: it does so for a day afterwards.
        return key if is_listed or key.ends else None

    def _admit(self, job: NewJob) -> int:
        guard = Guard.of(job)
        self.generation += 1
        key = guard.digest if guard and guard.kind == "i" else ""
        run = Run(job.id, self.generation, job.event, job.data, job.lane.name, key)
        self._open(run.lane)
        self.runs[run.generation] = run
        if guard and guard.kind == "t":
            self._put_off(run, "debounced", min(guard.window, guard.longest))
        elif job.due.startswith("+"):
            self._put_off(run, "delayed", int(job.due))
        else:
            self._enter(run, run.lane)
        self.live[run.id] = (run.generation, 0)
        if guard:
            held = Key(run.id, run.generation, ends=guard.kind != "i")
            (self.keys if guard.kind == "i" else self.storms)[guard.digest] = held
        return run.generation

    def _absorb(self, job: NewJob, found: Found) -> None:
        guard = Guard.of(job)
        if guard and guard.kind == "i" and found.guard is None:
            self.keys[guard.digest] = Key(job.id, found.generation, ends=True)
        if found.guard is None or found.guard.kind == "i":
            return
        self.stats["debounced"] += 1
        if found.guard.kind == "t":
            self._take_over(job, found.guard, self.runs[found.generation])

    def _take_over(self, job: NewJob, guard: Guard, run: Run) -> None:
        since = self.storms[guard.digest].since
        run.event, run.data, run.lane, run.created = job.event, job.data, job.lane.name, None
        self._open(run.lane)
        if since is None:
            self._put_off(run, "debounced", min(guard.window, guard.longest))
        else:
            self._put_off(run, "debounced", guard.window, by=since + guard.longest)

    # Places

    def _has_no_room(self, lanes: Iterable[str]) -> bool:
        new = {lane for lane in lanes if lane not in self.lanes}
        if not new:
            return False
        of_event = next(iter(new)).startswith("event.")
        alike = sum(lane.startswith("event.") == of_event for lane in self.lanes)
        most = MAX_EVENT_LANES if of_event else MAX_LANES
        return alike + len(new) > most

    def _open(self, lane: str) -> None:
        if lane not in self.lanes:
            self.lanes.add(lane)
            self.streams.setdefault(lane, [])
            self.streams.setdefault(f"{lane}:front", [])

    def _enter(self, run: Run, place: str) -> None:
        run.place, run.entry, run.holder, run.expired, run.due = place, None, None, False, None
        self.streams[place].append(run.generation)

    def _put_off(self, run: Run, state: str, ms: int, *, by: int | None = None) -> None:
        run.place, run.entry, run.holder, run.expired = state, None, None, False
        run.due, run.due_in, run.due_by, run.made_due = None, ms, by, None

    def _take(self, run: Run) -> None:
        if run.place not in PUT_OFF:
            self.streams[run.place].remove(run.generation)

    def _commit(self, run: Run, outcome: str) -> None:
        assert run.generation not in self.ended, f"{run} ended twice"
        self.ended[run.generation] = outcome

    def _end(self, run: Run, outcome: str, value: bytes | Letter) -> None:
        """Let a run end for everybody who asks; its entry may still be there."""
        self._commit(run, outcome)
        if self.is_listed(run):
            del self.live[run.id]
        self.results[run.id] = (run, outcome, value)
        self.waiters.pop(run.id, None)
        self._let_key_end(run)

    def _let_key_end(self, run: Run) -> None:
        key = self.keys.get(run.key)
        if key and (key.id, key.generation) == (run.id, run.generation):
            key.ends = True

    # Deliveries

    def fetch(self, place: str, consumer: str, count: int) -> list[Run]:
        """Hand out what waits in a stream."""
        runs = self.waiting(place)[:count]
        for run in runs:
            run.holder = (consumer, 1)
            self.handed[place] = run.entry
        return runs

    def renew(self, tokens: Iterable[Token]) -> str:
        """Return a flag for each token."""
        flags = ""
        for token in tokens:
            run = self.owned(token)
            if run is not None:
                run.expired = False
            flags += "0" if run is None else "C" if run.mark else "1"
        return flags

    def expire(self, places: Iterable[str]) -> None:
        """Let the leases of all deliveries of some streams run out."""
        for place in places:
            for run in self.pending(place):
                run.expired = True

    def reclaim(self, place: str, consumer: str, want: int, running: Iterable[str]) -> list[Run]:
        """Take deliveries over whose lease has run out."""
        known = set(running)
        runs = [run for run in self.pending(place) if run.expired and run.entry not in known][:want]
        for run in runs:
            assert run.holder is not None
            run.holder, run.expired = (consumer, run.holder[1] + 1), False
        return runs

    def solo(self, token: Token, runs: int | None) -> int:
        """Record how many solo runs there were, or only ask; return how many were recorded."""
        run = self.owned(token)
        if run is None:
            return -1
        # Of a run that is cancelled or whose id was taken over nothing is recorded.
        if run.mark or not self.is_listed(run):
            return -2
        before = self.live[run.id][1]
        if runs is not None:
            run.expired = False
            self.live[run.id] = (run.generation, runs)
        return before

    def log(self, token: Token) -> int:
        """Write a line of a job's log; return whether it was written."""
        run = self.owned(token)
        if run is None:
            return 0
        run.expired = False
        self.logs[run.id] += 1
        return 1

    # Settle

    def settle(self, settled: Iterable[tuple[Token, Outcome, Sequence[NewJob]]]) -> list[str]:
        """Return the words of a batch."""
        before, dead = self.generation, self.stats["dead"]
        words = [self._settle(token, outcome, jobs) for token, outcome, jobs in settled]
        self.stats["emitted"] += self.generation - before
        if self.stats["dead"] > dead:
            self._trim()
        return words

    def _settle(self, token: Token, outcome: Outcome, jobs: Sequence[NewJob]) -> str:
        run = self.owned(token)
        if run is None:
            self.stats["fenced"] += 1
            return "0"
        if run.mark:
            self._end_cancelled(run)
            return "C"
        if isinstance(outcome, Completed):
            return self._complete(run, outcome, jobs)
        if isinstance(outcome, Released):
            return self._release(run, outcome, token.was_solo)
        self._take(run)
        if isinstance(outcome, RetryAt):
            self._retry(run, outcome)
        elif isinstance(outcome, Buried):
            self._bury(run, outcome)
        else:
            self._cancel(run, outcome)
        return "1"

    def _end_cancelled(self, run: Run) -> None:
        self._take(run)
        del self.runs[run.generation]
        if self.is_listed(run):
            self._end(run, "cancelled", b"cancelled")
            return
        self._let_key_end(run)
        if run.mark == "cancelling":
            self._commit(run, "cancelled")

    def _complete(self, run: Run, outcome: Completed, jobs: Sequence[NewJob]) -> str:
        own = [job for job in jobs if job.lane.queue == self.queue]
        if self._has_no_room(self._lanes_needed(run, own)):
            return "L"
        self._take(run)
        del self.runs[run.generation]
        self._end(run, "completed", outcome.result)
        self.stats["completed"] += 1
        for job in own:
            found = self._look(job)
            if found is not None:
                self._absorb(job, found)
            else:
                self._admit(job)
        self.outbox += [Posted(job) for job in jobs if job.lane.queue != self.queue]
        return "1"

    def _lanes_needed(self, run: Run, jobs: Iterable[NewJob]) -> list[str]:
        found = ((job.lane.name, self._look(job)) for job in jobs)
        return [lane for lane, it in found if it is None or it.is_changed or it.id == run.id]

    def _retry(self, run: Run, outcome: RetryAt) -> None:
        self._recount(run)
        run.failures += outcome.uses_attempt
        run.started = run.first_start
        run.errors = outcome.errors or run.errors
        run.lane = run.place.removesuffix(":front")
        if outcome.delay_ms > 0:
            self._put_off(run, "retrying", outcome.delay_ms)
        else:
            self._enter(run, run.lane)
        if self.is_listed(run):
            self.live[run.id] = (run.generation, 0)
        self.stats["retried"] += 1

    def _recount(self, run: Run) -> None:
        """Keep the counts of an entry that is added again."""
        assert run.holder is not None
        delivered = run.holder[1]
        run.deliveries, run.crashes = run.deliveries + delivered, run.crashes + delivered - 1

    def _bury(self, run: Run, outcome: Buried) -> None:
        assert run.holder is not None
        del self.runs[run.generation]
        errors = outcome.errors or run.errors
        run.lane = run.place.removesuffix(":front")
        letter = Letter(run, outcome.reason, outcome.error, errors, run.holder[1])
        self._add_letter(letter)
        self._end(run, "dead", letter)

    def _cancel(self, run: Run, outcome: Cancelled) -> None:
        del self.runs[run.generation]
        self._end(run, "cancelled", outcome.reason.encode())
        self.stats["cancelled"] += 1

    def _release(self, run: Run, outcome: Released, was_solo: bool) -> str:
        lane = run.place.removesuffix(":front")
        if outcome.event is not None:
            lane = Lane.parse(self.queue, lane).for_event(outcome.event).name
        if self._has_no_room([lane]):
            return "L"
        self._take(run)
        self._recount(run)
        run.started = run.first_start
        self._open(lane)
        run.lane = lane
        self._enter(run, f"{lane}:front")
        solo = self.live[run.id][1]
        self.live[run.id] = (run.generation, max(0, solo - was_solo))
        self.stats["released"] += 1
        return "1"

    # Dead letters

    def _add_letter(self, letter: Letter) -> None:
        self.letters.append(letter)
        letter.before = self.letter_of.get(letter.run.id)
        self.letter_of[letter.run.id] = letter
        self.stats["dead"] += 1

    def _drop_letter(self, letter: Letter) -> None:
        self.letters.remove(letter)
        if self.letter_of.get(letter.run.id) is letter:
            del self.letter_of[letter.run.id]
            if letter.before in self.letters:
                self.letter_of[letter.run.id] = letter.before

    def _trim(self) -> None:
        while len(self.letters) > MOST_LETTERS:
            self._drop_letter(self.letters[0])
            self.stats["dead_trimmed"] += 1

    def replay(self, job_ids: Iterable[str]) -> list[str]:
        """Return the words of a batch."""
        return [self._replay(job_id) for job_id in job_ids]

    def _replay(self, job_id: str) -> str:
        run, letter = self.living(job_id), self.letter_of.get(job_id)
        if run is not None:
            return f"={run.generation}"
        if letter is None:
            return "-"
        if self._has_no_room([letter.run.lane]):
            return "L"
        self._drop_letter(letter)
        self.generation += 1
        was = letter.run
        run = Run(was.id, self.generation, was.event, was.data, was.lane, was.key)
        run.started = 1
        self._open(run.lane)
        self.runs[run.generation] = run
        self._enter(run, run.lane)
        self.live[run.id] = (run.generation, 0)
        found = run.key and self._standing_for(Guard("i", run.key, 0, 0))
        if run.key and (not found or found.id == run.id):
            self.keys[run.key] = Key(run.id, run.generation, ends=False)
        self.stats["replayed"] += 1
        return f"+{run.generation}"

    def purge(self) -> int:
        """Delete all letters; return how many there were."""
        purged = len(self.letters)
        self.letters, self.letter_of = [], {}
        self.stats["dead_purged"] += purged
        return purged

    # Operators and time

    def cancel(self, job_id: str, generation: int | None) -> tuple[str, int]:
        """Return the word and the run."""
        current = self.live.get(job_id, (0, 0))[0]
        if not current or generation not in (None, current):
            return "too_late", 0
        run = self.runs[current]
        if run.holder is not None:
            self.stats["cancelled"] += not run.mark
            run.mark = "cancelling"
            return "requested", current
        # It may have been asked for while somebody had it: then it is counted already.
        self.stats["cancelled"] += not run.mark
        self._end(run, "cancelled", b"cancelled")
        if run.place in PUT_OFF:
            del self.runs[run.generation]
        else:
            run.mark = "cancelled"
        return "cancelled", current

    def make_due(self, run: Run, due: int) -> None:
        """Let a job that is put off be due since a time."""
        run.made_due = due

    def promote(self, now: int, most: int) -> int:
        """Move what is due into its lane; return how many."""
        runs = [run for run in self.put_off() if run.score <= now][:most]
        for run in runs:
            self._open(run.lane)
            self._enter(run, run.lane)
            self.live[run.id] = (run.generation, 0)
        self.stats["promoted"] += len(runs)
        return len(runs)

    def pause(self, event: str, pauses: bool) -> int:
        """Pause or resume the queue (an empty event) or an event; return the state's number."""
        (self.paused.add if pauses else self.paused.discard)(event)
        self.named, self.pause_state = True, self.pause_state + 1
        return self.pause_state

    def forget_key(self, digest: str) -> None:
        """Let the time of a guard's key run out."""
        self.keys.pop(digest, None)
        self.storms.pop(digest, None)

    def wait_for(self, job_id: str, channel: str) -> None:
        """Let somebody wait for the end of a live job."""
        if job_id in self.live and channel not in self.waiters.setdefault(job_id, []):
            self.waiters[job_id].append(channel)

    # Lanes and groups

    def open_queue(self, lane: str) -> None:
        """Prepare the queue for a worker."""
        self._open(lane)
        self.named = True

    def is_unused(self, lane: str) -> bool:
        """Whether nothing is in a lane, and nothing that is put off needs it."""
        is_reserved = any(run.lane == lane for run in self.put_off())
        return not (is_reserved or self.streams.get(lane) or self.streams.get(f"{lane}:front"))

    def retire(self, lane: str) -> int:
        """Remove a lane that nothing uses; return whether it was."""
        if lane not in self.lanes or not self.is_unused(lane):
            return 0
        streams = (lane, f"{lane}:front")
        self.lanes.discard(lane)
        for stream in streams:
            self.streams.pop(stream, None)
        self.groupless -= set(streams)
        self.regrouped -= set(streams)
        self.handed = {place: it for place, it in self.handed.items() if place not in streams}
        return 1

    def lose_group(self, place: str) -> None:
        """Let somebody destroy a stream's group, and with it who had what."""
        self.groupless.add(place)
        self.regrouped.add(place)
        for run in self.pending(place):
            run.holder, run.expired = None, False

    def repair(self, lane: str) -> int:
        """Make lost groups again; return how many."""
        lost = {lane, f"{lane}:front"} & self.groupless if lane in self.lanes else set()
        self.groupless -= lost
        self.named |= bool(lost)
        self.epochs += bool(lost)
        return len(lost)

    # Schedules

    def register(
        self, name: str, digest: str, version: int, slot: int | None, *, confirm_only: bool
    ) -> tuple[str, int | None]:
        """Return the word and the next fire."""
        found = self.plans.get(name)
        if found is not None and found.digest == digest:
            return self._register_again(found, version, slot)
        if confirm_only:
            return ("other" if found else "unknown"), None
        if found is not None and version < found.version:
            return "older", found.slot
        if found is not None and found.is_past(slot):
            return "past", found.fired
        plan = self.plans.setdefault(name, Plan(digest, version, slot, None))
        plan.digest, plan.version = digest, version
        self._put_in_force(plan, slot)
        return ("replaced" if found else "created"), slot

    def _register_again(self, plan: Plan, version: int, slot: int | None) -> tuple[str, int | None]:
        comes_back = plan.paused == UNREGISTERED
        if comes_back and plan.is_past(slot):
            return "past", plan.fired
        plan.version = max(version, plan.version)
        if comes_back:
            self._put_in_force(plan, slot)
        return "kept", plan.slot

    def _put_in_force(self, plan: Plan, slot: int | None) -> None:
        self.named, plan.slot = True, slot
        if plan.paused in (None, UNREGISTERED):
            plan.paused, plan.look = None, slot

    def reschedule(self, name: str, what: str, given: str, digest: str) -> str:
        """Pause (given: why), resume (given: the next fire) or remove; return the word."""
        plan = self.plans.get(name)
        if plan is None:
            return "unknown"
        if digest not in ("", plan.digest):
            return "other"
        if what == "remove":
            del self.plans[name]
        elif what == "pause":
            if given == UNREGISTERED and plan.paused is not None:
                return "kept"
            plan.paused, plan.look = given, None
        elif plan.is_past(int(given)):
            return "past"
        else:
            plan.paused, plan.slot, plan.look = None, int(given), int(given)
        return "done"

    def fire(
        self,
        name: str,
        known: tuple[str, int | None],
        jobs: Sequence[NewJob],
        *,
        latest: int,
        following: int | None,
        overlap: str,
        passed_over: int,
    ) -> tuple[str, int]:
        """Return the word and how many jobs were added; known is a digest and its next fire."""
        plan = self.plans.get(name)
        if plan is None or known != (plan.digest, plan.slot) or plan.paused is not None:
            return "stale", 0
        is_busy = (
            overlap != "allow" and plan.last is not None and self.living(plan.last) is not None
        )
        if is_busy and overlap == "queue":
            plan.look, plan.look_in = None, 1000
            return "busy", 0
        if not is_busy and self._has_no_room([job.lane.name for job in jobs]):
            plan.look, plan.look_in = None, 5000
            return "L", 0
        added = [] if is_busy else [job for job in jobs if self._look(job) is None]
        before = self.generation
        for job in added:
            self._admit(job)
            plan.last = job.id
        plan.slot = plan.look = following
        plan.fired = latest
        plan.fires += len(added)
        plan.skipped += passed_over + len(jobs) * is_busy
        self._count_born(before)
        return "fired", len(added)

    # Children of other queues

    def take_in(self, source: str, posted: Iterable[tuple[str, NewJob]]) -> tuple[int, int]:
        """Take children from a queue's outbox; return how many are dealt with, and buried."""
        before, dealt, buried = self.generation, 0, 0
        for entry, job in posted:
            dealt += 1
            if _is_later(entry, self.relayed.get(source, "0-0")):
                self.relayed[source] = entry
                buried += self._take_in(job)
        self._count_born(before)
        if buried:
            self._trim()
        return dealt, buried

    def _take_in(self, job: NewJob) -> bool:
        word = self._emit(job, room=1)
        if word == "L":
            run = Run(job.id, 0, job.event, job.data, job.lane.name)
            error = "the queue cannot have another lane"
            self._add_letter(Letter(run, "too_many_lanes", error, b"", 0))
        return word == "L"

    def posted(self) -> dict[str, list[Posted]]:
        """Return what the outbox holds by the queue it goes to."""
        found: dict[str, list[Posted]] = {}
        for it in self.outbox:
            found.setdefault(it.job.lane.queue, []).append(it)
        return found

    def sent(self, entries: Iterable[str]) -> None:
        """Delete entries of the outbox."""
        gone = set(entries)
        self.outbox = [it for it in self.outbox if it.entry not in gone]


def _is_later(one: str, other: str) -> bool:
    def numbers(entry: str) -> Any:
        return tuple(map(int, entry.split("-")))

    return bool(numbers(one) > numbers(other))
