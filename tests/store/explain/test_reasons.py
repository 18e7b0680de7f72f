"""Each reason of the table of explain: it is brought about, and its sentence is read."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from consumers.admin.circumstances import Coming
from consumers.admin.explain import TABLE
from consumers.admin.explainer import Explainer
from consumers.admin.reasons.in_lane import SET_ASIDE
from consumers.jobs.outcome import Completed
from tests.store.explain.bringing import (
    TRAILING,
    WEB,
    behind,
    cancelled,
    event_paused,
    expired,
    held,
    listed,
    no_definition,
    no_group,
    no_handler,
    no_level,
    no_match,
    not_listed,
    other_type,
    overdue,
    passed_over,
    paused,
    pinned,
    retrying,
    running,
    slots_taken,
    spoiled,
    too_late,
    too_new,
    unreadable,
    vanished,
    waiting,
)
from tests.store.explain.sentences import plain
from tests.support.queue import Queue, new_job

ROOT = Path(__file__).resolve().parents[3]


class Reason(NamedTuple):
    """How a reason of job a is brought about, and its sentence, with T for times."""

    bring: Callable[[Queue], Any]
    sentence: str
    coming: Coming | None = None


REASONS = {
    "scheduled": Reason(
        lambda queue: None, "schedule 'nightly' emits it at M, in T",
        Coming("nightly", 4_000_000_000_000),
    ),
    "unknown": Reason(
        lambda queue: None,
        "is not known in queue 'default': it never existed, or it ended and its result has expired",
    ),
    "ended": Reason(
        lambda queue: queue.settle((queue.one(consumer=WEB), Completed(b"1")), consumer=WEB),
        "completed at M on web-1",
    ),
    "parked": Reason(
        lambda queue: queue.redis.hset(queue.keys.live("a"), "a", "1 0 @order/ab 7-0"),
        "was set aside by a newer version of taskmanager; this version cannot see why",
    ),
    "foreign": Reason(
        spoiled,
        "cannot be read: the key of its lane 'workers:default:0' holds a hash instead of a stream",
    ),
    "vanished": Reason(
        vanished,
        "is lost: somebody deleted its entry from its lane 'workers:default:0' in Redis",
    ),
    "unreadable": Reason(
        unreadable,
        "is lost: what was kept of it until it is due is gone from Redis, or cannot be read",
    ),
    "lease_expired": Reason(
        expired,
        "web-1 has not renewed its lease for T (the lease is T): another worker will take it over",
    ),
    "cancelled": Reason(
        cancelled,
        "was cancelled: web-1 has been asked to stop it, and it can only end as cancelled",
    ),
    "held": Reason(held, "is held by web-1 and has not started: all 2 slots of web-1 are taken"),
    "running": Reason(
        lambda queue: (running(queue, {"a": 0}), listed(queue)),
        "has been running on web-1 for T",
    ),
    "overdue": Reason(
        overdue, "has been due for T, and no worker of queue 'default' has moved it to its lane yet"
    ),
    "delayed": Reason(
        lambda queue: queue.emit(new_job(due="+3600000")), "is delayed: due at M, in T"
    ),
    "debounced": Reason(
        lambda queue: queue.emit(new_job(guard=TRAILING)),
        "is debounced: due at M, in T, or later if another emit comes first",
    ),
    "retrying": Reason(
        retrying, "failed 1 time, last with 'ValueError: no route', and runs again at M, in T"
    ),
    "paused": Reason(paused, "queue 'default' is paused"),
    "event_paused": Reason(event_paused, "event 'e' of queue 'default' is paused"),
    "no_worker": Reason(
        other_type,
        "no live worker of type 'encoder' reads queue 'default'; its live workers are of type "
        "workers",
    ),
    "newer_version": Reason(
        too_new,
        "no live worker of type 'workers' is new enough: it needs version 2 of the entries, and "
        "they read up to version 1 (web-1)",
    ),
    "no_handler": Reason(
        no_handler,
        "no live worker of type 'workers' handles event 'e' in queue 'default' (live: web-1 and "
        "web-2)",
    ),
    "no_definition": Reason(
        no_definition,
        "nobody knows what route workers+0123456789ab requires: neither queue 'default' nor the "
        "job has it",
    ),
    "pinned": Reason(pinned, "may run on enc-2 only; enc-2 was last heard of T ago"),
    "no_match": Reason(
        no_match,
        "no worker may run route R (e, needs gpu, not on enc-9): enc-2 lacks gpu; enc-4 does not "
        "handle 'e' and lacks gpu; enc-9 is excluded; it could run on enc-7, which was last "
        "heard of T ago",
    ),
    "no_level": Reason(
        no_level,
        "no worker takes priority 5 of lane workers:default:5 (e): enc-4 takes priorities 2 and 0 "
        "only",
    ),
    "no_group": Reason(
        no_group,
        "its lane 'workers:default:0' cannot be read, because consumer group 'workers' is gone; "
        "the next worker that reads it creates it again",
    ),
    "not_listed": Reason(
        not_listed,
        "no worker reads its lane 'workers:default:0': queue 'default' does not list it any more, "
        "until another job is added to it",
    ),
    "passed_over": Reason(
        passed_over,
        "no worker will get it: consumer group 'workers' is past its entry in 'workers:default:0' "
        "and nobody has it, because somebody changed the group in Redis",
    ),
    "expired": Reason(
        too_late, "expired at M, T ago: it ends as cancelled when a worker reaches it"
    ),
    "slots_taken": Reason(
        slots_taken,
        "waits in route R (e, needs gpu): 3 workers may run it (enc-1, enc-3 and enc-5), all 12 "
        "slots are taken; 7 jobs of higher priority or older go first",
    ),
    "behind": Reason(
        behind,
        "waits in lane workers:default:0 (e): 1 worker may run it (web-1), 1 of 2 slots is free; "
        "it is behind 5 jobs, 2 of them of higher priority",
    ),
    "next": Reason(
        waiting,
        "waits in lane workers:default:0 (e): 1 worker may run it (web-1), 2 of 2 slots are free; "
        "nothing is before it: it should start at once",
    ),
}  # fmt: skip
# What is never first: it is a detail of another one.
DETAILS = {"set_aside"}


def test_every_reason_of_the_table_is_brought_about() -> None:
    assert [row.code for row in TABLE] == [*REASONS, *DETAILS]


@pytest.mark.parametrize("code", REASONS)
async def test_a_reason_and_its_sentence(queue: Queue, explainer: Explainer, code: str) -> None:
    reason = REASONS[code]
    reason.bring(queue)
    before = queue.snapshot()

    found = await explainer.job("a", coming=reason.coming)

    assert (found.reason, plain(found.sentence)) == (code, reason.sentence)
    assert str(found) == found.sentence
    assert queue.snapshot() == before


def test_the_page_on_explain_has_each_reason_and_its_sentence() -> None:
    page = (ROOT / "docs" / "explain.md").read_text()
    told = dict(re.findall(r"^\| `(\w+)` \| (.+) \|$", page, re.MULTILINE))

    assert list(told) == [row.code for row in TABLE]
    assert told.pop("set_aside") == SET_ASIDE
    assert {code: plain(it) for code, it in told.items()} == {
        code: it.sentence for code, it in REASONS.items()
    }
