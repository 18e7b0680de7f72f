"""What must be true after every step: of Redis by itself, and of Redis beside the model.

Where the model leaves something open that is Redis' to give (a time, the id of an entry), the
law that meets it first checks its bounds and fills it in.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from consumers.admin.facts import End, end_of
from consumers.jobs.run_facts import read_facts
from consumers.store.keys import Keys
from tests.model.broker import Seen, SeenQueue
from tests.model.model import Model
from tests.model.state import BEGINS_AFTER_MS, GROUP, OUTBOX_EPOCH, PUT_OFF, Key, Letter, Plan, Run

_DAY_MS = 86_400_000
# Keys that may stay for ever, once the model says that they are there; all others must expire.
_PERMANENT = re.compile(
    r"lane:.+|lanes|meta|live:\d+|delayed(:envelopes|:lanes)?|dead(:.+)?|dead_index|stats|outbox|relayed|"
    r"cancelled|cancelling|idem:.+|cron(:.+)?|cron_names"
)
_EXPIRING = re.compile(r"(prod|result|log|debounce):.+|waiters|idem:.+")
_STATS = (
    "emitted", "completed", "dead", "released", "retried", "cancelled", "fenced", "promoted",
    "replayed", "debounced", "dead_purged", "dead_trimmed", "missing",
)  # fmt: skip


@dataclass(frozen=True)
class Moment:
    """A queue in Redis beside its model, and when it was looked at: before the step, and now."""

    model: Model
    queue: SeenQueue
    before: int
    now: int

    def is_recent(self, ms: int) -> bool:
        """Whether a time lies in the step."""
        return self.before <= ms <= self.now


def check(models: dict[str, Model], seen: Seen, before: int) -> None:
    """Check every law for every queue; before is when Redis was looked at the last time."""
    assert set(seen.others) <= {"tm:queues"}, f"orphan keys: {seen.others}"
    for name, model in models.items():
        moment = Moment(model, seen.queues[name], before, seen.now)
        for law in LAWS:
            law(moment)


def entries_are_in_order_and_as_they_were_added(it: Moment) -> None:
    _same(set(it.queue.names("lane:")), set(it.model.streams), "streams")
    for place, generations in it.model.streams.items():
        found = it.queue.stream(f"lane:{place}").entries
        runs = [it.model.runs[generation] for generation in generations]
        _same(len(found), len(runs), f"length of {place}")
        for run, (entry, fields) in zip(runs, found.items(), strict=True):
            run.entry = run.entry or entry
            _learn_created(it, run, fields)
            _same((entry, fields), (run.entry, run.fields), f"in {place}")


def every_delivery_is_of_one_consumer(it: Moment) -> None:
    for place in it.model.streams:
        groups = it.queue.stream(f"lane:{place}").groups
        names = [group.name for group in groups]
        _same(names, ([] if place in it.model.groupless else [GROUP]), f"groups of {place}")
        found = groups[0].pending if groups else {}
        held = {run.entry: run.holder for run in it.model.pending(place)}
        _same(found, held, f"pending in {place}")


def the_lag_of_a_group_is_what_waits(it: Moment) -> None:
    for place in filter(it.model.knows_lag, it.model.streams):
        for group in it.queue.stream(f"lane:{place}").groups:
            waits = len(it.model.waiting(place))
            if group.knows_lag:
                _same(group.lag, waits, f"lag of {place}")


def a_live_job_is_in_one_place(it: Moment) -> None:
    """Redis alone: an id of the index is in the delayed set, or its entry is where it says."""
    entries = Counter(
        (f"{place} {entry}", fields[3].decode())
        for place in it.queue.names("lane:")
        for entry, fields in it.queue.stream(f"lane:{place}").entries.items()
    )
    put_off = it.queue.scores("delayed")
    for job_id, (_, _, place, entry) in _pointers(it.queue).items():
        if place in PUT_OFF:
            assert job_id in put_off, f"{job_id} is not {place}"
        else:
            assert job_id not in put_off, f"{job_id} is in a lane and put off"
            _same(entries[f"{place} {entry}", job_id], 1, f"{job_id} is not at {place} {entry}")


def the_index_is_that_of_the_model(it: Moment) -> None:
    expected = {}
    for job_id, (generation, solo) in it.model.live.items():
        run = it.model.runs[generation]
        where = str(run.due) if run.place in PUT_OFF else run.entry
        expected[job_id] = (str(generation), str(solo), run.place, where)
    _same(_pointers(it.queue), expected, "live")


def what_is_put_off_has_its_envelope_and_its_lane(it: Moment) -> None:
    runs = it.model.put_off()
    scores, envelopes = it.queue.scores("delayed"), _envelopes(it)
    ids = [run.id for run in runs]
    _same(sorted(scores), sorted(ids), "delayed")
    _same(sorted(envelopes), sorted(ids), "envelopes")
    for run in runs:
        _learn_due(it, run, int(_pointers(it.queue)[run.id][3]))
        _same(scores[run.id], run.score, f"{run} is promoted at {scores[run.id]}")
        bucket, lane, group, *fields = envelopes[run.id]
        _learn_created(it, run, fields)
        _same(bucket.decode(), Keys(it.model.queue).live(run.id), "live bucket")
        _same((lane.decode(), group.decode(), fields), (run.lane, GROUP, run.fields), "envelope")
    reserved = {lane: int(number) for lane, number in it.queue.hash("delayed:lanes").items()}
    _same(reserved, Counter(run.lane for run in runs), "reservations")


def lanes_are_listed_with_their_priority(it: Moment) -> None:
    above_types = 1000
    expected = {
        lane: int(lane.rpartition(":")[2]) + above_types * lane.startswith("event.")
        for lane in it.model.lanes
    }
    _same(it.queue.scores("lanes"), expected, "lanes")


def marks_are_on_entries_that_are_there(it: Moment) -> None:
    for mark in ("cancelled", "cancelling"):
        found = {text.decode() for text in it.queue.contents.get(mark, ())}
        marked = {f"{run.place} {run.entry}" for run in it.model.runs.values() if run.mark == mark}
        assert found == marked, mark


def letters_are_kept_and_indexed(it: Moment) -> None:
    found = it.queue.stream("dead").entries
    _same(len(found), len(it.model.letters), "dead letters")
    for letter, (entry, fields) in zip(it.model.letters, found.items(), strict=True):
        letter.entry = letter.entry or entry
        _learn_created(it, letter.run, fields[fields.index(b"head") :])
        texts = ("job", letter.run.id, "size", letter.size, "lane", letter.run.lane)
        before = () if letter.before is None else ("before", letter.before.entry)
        start = [str(text).encode() for text in (*texts, "group", GROUP, *before)]
        _same((entry, fields), (letter.entry, [*start, *letter.facts]), "dead letter")
    index = {job_id: letter.entry for job_id, letter in it.model.letter_of.items()}
    _same(it.queue.hash("dead_index"), index, "dead_index")


def results_are_those_of_the_last_ends(it: Moment) -> None:
    stored = {name: it.queue.contents[f"result:{name}"] for name in it.queue.names("result:")}
    found, expected = {name: end_of(it) for name, it in stored.items()}, {}
    for job_id, (run, state, value) in it.model.results.items():
        if isinstance(value, Letter):
            value = (value.entry or "never seen").encode()
        expected[job_id] = End(run.generation, state, value)
    _same(found, expected, "results")
    for job_id, (run, *_) in it.model.results.items():
        _check_facts(run, found[job_id])


def _check_facts(run: Run, end: End) -> None:
    """See that what is kept beside an end is of its run."""
    facts = read_facts(end.kept)
    assert facts is not None, f"of {run} nothing is kept beside {end}"
    run.created = run.created or facts.created_at
    told = (facts.event, facts.created_at, facts.errors)
    _same(told, (run.event, run.created, _errors_kept(run, end)), "facts")
    starts: tuple[int | None, int | None, int] = (_known(run.started), None, run.failures)
    if facts.last_started is not None:
        # It was not cancelled while it waited.
        starts = (run.first_start, run.created + BEGINS_AFTER_MS, run.failures + 1)
    _same((facts.first_started, facts.last_started, facts.attempts), starts, "starts")
    assert facts.finished_at >= run.created


def _known(started: int) -> int | None:
    return started if started > 1 else None


def _errors_kept(run: Run, end: End) -> bytes:
    # Of a dead job its letter has them.
    return b"" if end.state == "dead" else run.errors


def a_key_lasts_as_long_as_its_job(it: Moment) -> None:
    """An idempotency key has a time to live exactly when no living job needs it."""
    for prefix, keys in (("idem:", it.model.keys), ("debounce:", it.model.storms)):
        assert set(it.queue.names(prefix)) == set(keys), prefix
        for digest, key in keys.items():
            _check_key(it, f"{prefix}{digest}", key)
    for digest, key in it.model.keys.items():
        assert key.ends or key.generation in it.model.runs, f"idem:{digest} of {key} is for ever"


def counters_count(it: Moment) -> None:
    found = {name: int(number) for name, number in it.queue.hash("stats").items()}
    expected = {name: number for name, number in it.model.stats.items() if number}
    expected["dead_bytes"] = sum(letter.size for letter in it.model.letters)
    differing = {
        name: (found.get(name, 0), expected.get(name, 0))
        for name in {*_STATS, *found, *expected}
        if found.get(name, 0) != expected.get(name, 0)
    }
    assert not differing, f"counters (found, expected): {differing}"


def the_outbox_is_in_order(it: Moment) -> None:
    found = it.queue.stream("outbox").entries
    _same(len(found), len(it.model.outbox), "outbox")
    for posted, (entry, fields) in zip(it.model.outbox, found.items(), strict=True):
        posted.entry = posted.entry or entry
        job, given = posted.job, dict(zip(fields[::2], fields[1::2], strict=True))
        where = (given[b"queue"].decode(), given[b"lane"].decode(), given[b"id"].decode())
        _same(where, (job.lane.queue, job.lane.name, job.id), "posted")
        what = (given[b"event"].decode(), given[b"data"], given[b"due"], given[b"guard"])
        expected = (job.event, job.data, job.due.encode(), job.guard.encode())
        _same((entry, what), (posted.entry, expected), "posted")
    relayed = {name: f"{OUTBOX_EPOCH} {entry}" for name, entry in it.model.relayed.items()}
    _same(it.queue.hash("relayed"), relayed, "relayed")


def properties_are_kept(it: Moment) -> None:
    meta = it.queue.hash("meta")
    _same(int(meta.get("generation", 0)), it.model.generation, "generation")
    _same(int(meta.get("pause_state", 0)), it.model.pause_state, "pause state")
    _same("paused" in meta, "" in it.model.paused, "paused")
    events = sorted(it.model.paused - {""})
    _same(meta.get("paused_events", "").split(), events, "paused events")
    _same(meta.get("layout"), "1" if it.model.named else None, "layout")
    _same("epoch" in meta, it.model.named, "epoch")


def schedules_are_looked_at_when_they_are_due(it: Moment) -> None:
    names = {name.decode() for name in it.queue.contents.get("cron_names", ())}
    _same(names, set(it.model.plans), "names of schedules")
    _same(set(it.queue.names("cron:")), names, "schedules")
    looks = it.queue.scores("cron")
    for name, plan in it.model.plans.items():
        if plan.look_in:
            assert it.is_recent(looks[name] - plan.look_in), f"{name} is looked at {looks[name]}"
            plan.look, plan.look_in = looks[name], 0
        _same(looks.pop(name, None), plan.look, f"when to look at {name}")
        _same(_read_plan(it.queue.hash(f"cron:{name}"), plan), plan, name)
    assert not looks, f"nobody knows {looks}"


def _read_plan(found: dict[str, str], plan: Plan) -> Plan:
    def number(name: str) -> int | None:
        return int(found[name]) if found.get(name) else None

    return replace(
        plan,
        digest=found["digest"], version=int(found["version"]), slot=number("slot"),
        fired=number("fired"), paused=found.get("paused"), last=found.get("last"),
        fires=number("fires") or 0, skipped=number("skipped") or 0,
    )  # fmt: skip


def who_waits_waits_for_a_live_job(it: Moment) -> None:
    found = {job_id: channels.split() for job_id, channels in it.queue.hash("waiters").items()}
    _same(found, it.model.waiters, "waiters")
    assert set(found) <= set(it.model.live), "somebody waits for nothing"


def logs_have_their_lines(it: Moment) -> None:
    found = {name: it.queue.contents[f"log:{name}"] for name in it.queue.names("log:")}
    _same(found, it.model.logs, "logs")


def only_declared_keys_stay(it: Moment) -> None:
    for name, ttl in it.queue.ttls.items():
        declared = _PERMANENT if ttl == -1 else _EXPIRING
        assert declared.fullmatch(name), f"{name} has a time to live of {ttl}"


LAWS: tuple[Callable[[Moment], None], ...] = (
    entries_are_in_order_and_as_they_were_added,
    every_delivery_is_of_one_consumer,
    the_lag_of_a_group_is_what_waits,
    what_is_put_off_has_its_envelope_and_its_lane,
    a_live_job_is_in_one_place,
    the_index_is_that_of_the_model,
    lanes_are_listed_with_their_priority,
    marks_are_on_entries_that_are_there,
    letters_are_kept_and_indexed,
    results_are_those_of_the_last_ends,
    a_key_lasts_as_long_as_its_job,
    counters_count,
    the_outbox_is_in_order,
    properties_are_kept,
    schedules_are_looked_at_when_they_are_due,
    who_waits_waits_for_a_live_job,
    logs_have_their_lines,
    only_declared_keys_stay,
)


def _pointers(queue: SeenQueue) -> dict[str, Any]:
    found = {}
    for number in queue.names("live:"):
        for job_id, pointer in queue.hash(f"live:{number}").items():
            assert Keys("a").live(job_id).endswith(f"live:{number}"), f"bucket of {job_id}"
            found[job_id] = tuple(pointer.split(" "))
    return found


def _envelopes(it: Moment) -> dict[str, list[bytes]]:
    flat = it.queue.contents.get("delayed:envelopes", ())
    return {
        job_id.decode(): _unpack(packed)
        for job_id, packed in zip(flat[::2], flat[1::2], strict=True)
    }


def _unpack(packed: bytes) -> list[bytes]:
    parts = []
    while packed:
        length, _, rest = packed.partition(b":")
        parts.append(rest[: int(length)])
        packed = rest[int(length) :]
    return parts


def _learn_created(it: Moment, run: Run, fields: list[bytes]) -> None:
    if run.created is None:
        run.created = int(fields[1].split(b":")[2])
        assert it.is_recent(run.created), "created"


def _learn_due(it: Moment, run: Run, due: int) -> None:
    if run.due is None:
        # Never early: a millisecond more, because now was rounded down.
        earliest, latest = (now + run.due_in for now in (it.before, it.now))
        if run.due_by is not None:
            earliest, latest = min(earliest, run.due_by), min(latest, run.due_by)
        assert earliest + 1 <= due <= latest + 1, f"{run} is due at {due}"
        run.due = due
    _same(due, run.due, f"{run} is due at {due}")


def _check_key(it: Moment, name: str, key: Key) -> None:
    bucket, job_id, generation, since = it.queue.contents[name].decode().split(" ")
    if key.since is None:
        key.since = int(since)
        assert it.is_recent(key.since), f"{name} since {since}"
    assert Keys("a").live(job_id).endswith(f"live:{bucket}"), name
    found = (job_id, int(generation), int(since))
    _same(found, (key.id, key.generation, key.since), name)
    _same(it.queue.ttls[name] > 0, key.ends, f"whether {name} expires")


def _same(found: object, expected: object, what: str) -> None:
    assert found == expected, f"{what}: Redis has\n  {found}\nand the model\n  {expected}"
