"""The table of reasons, as a pure function of what is known."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import pytest
from pydantic_core import to_json

from consumers.admin.circumstances import Circumstances, Start, circumstances_of
from consumers.admin.explain import TABLE, explain, reason_of
from consumers.admin.explanation import Explanation
from consumers.admin.reasons.words import at, brief, counted, for_how_long, listed
from consumers.jobs.routes import Profile, Route
from consumers.store.queue_workers import SeenWorker, WorkerState

NOW = 1_700_000_000_000
ROUTE = Route("workers", "e", requires=("gpu",))
OPTIONS = to_json({"route": ROUTE.definition})


def answer(**told: Any) -> list[Any]:
    """Return an answer of explain.lua for job a, waiting in its lane but for what is told."""
    lane = told.pop("lane", b"workers:default:0")
    known = {
        "now": NOW,
        "pointer": b"7 0 %b 5-0" % lane,
        "fields": fields(told.pop("options", b"")),
        "lane": lane,
        "consumer": b"",
        "delivered": 0,
        "since": 0,
        "result": b"",
        "letter": [],
        "letter_entry": b"",
        "paused": [None, None, None],
        "lease": b"30000",
        "cancelled": 0,
        "definition": b"",
        "listed": 1,
        "kind": b"stream",
        "group": 1,
        "passed": 0,
        "before": 0,
        "more": 0,
        "higher": [],
        "more_higher": 0,
        **told,
    }
    return [part for name, value in known.items() for part in (name.encode(), value)]


def fields(options: bytes = b"", version: int = 1) -> list[bytes]:
    head = b"%d:7:%d:0:0:0" % (version, NOW - 1000)
    return [b"head", head, b"id", b"a", b"event", b"e", b"data", b"", b"options", options]


def about(**told: Any) -> Circumstances:
    return circumstances_of("default", "a", answer(**told))


def worker(name: str = "w", *, silent_ms: int = 0, **told: Any) -> SeenWorker:
    it = {"slots": 2, "running": 0, "events": frozenset({"e"}), "envelope": 1, **told}
    profile = Profile(name, it.pop("type", "workers"), it.pop("can", frozenset()))
    return SeenWorker(f"{name}.0a", NOW - silent_ms, WorkerState(profile, **it))


def test_each_code_is_there_once() -> None:
    codes = [row.code for row in TABLE]

    assert len(codes) == len(set(codes))


def codes(it: Explanation) -> list[str]:
    return [it.reason, *(detail.reason for detail in it.details)]


def states() -> list[dict[str, Any]]:
    """Everything that Redis may say of where a job is."""
    return [
        {},
        {"pointer": b"", "fields": [], "lane": b""},
        {"pointer": b"", "fields": [], "lane": b"", "result": b"7 completed 1"},
        {"pointer": b"", "fields": [], "lane": b"", "result": b"7 dead 3-0"},
        {"pointer": b"", "fields": [], "lane": b"", "result": b"7 cancelled "},
        {"pointer": b"7 0 elsewhere 1", "fields": [], "lane": b""},
        {"pointer": b"7 0 delayed %d" % (NOW + 5)},
        {"pointer": b"7 0 retrying %d" % (NOW - 5_000)},
        {"pointer": b"7 0 debounced 5", "fields": [], "lane": b""},
        {"consumer": b"w.0a", "delivered": 1, "since": NOW - 9},
        {"consumer": b"other.0a", "delivered": 4, "since": NOW - 99_000, "cancelled": 1},
        {"fields": []},
        {"fields": [b"somebody", b"else's"]},
        {"fields": [], "kind": b"hash", "group": 0},
        {"lane": ROUTE.name.encode() + b":default:0"},
        {"lane": ROUTE.name.encode() + b":default:0", "options": OPTIONS, "passed": 1},
        {"lane": b"event.e@2:default:0", "more": 1},
        {"paused": [b"1", None, None]},
        {"cancelled": 1},
        {"options": to_json({"expires_ms": 5})},
        {"lane": b"not a lane", "pointer": b"7 0 workers:default:0 5-0"},
    ]


WORKERS = [
    [],
    [worker()],
    [worker(running=2), worker("v", can=frozenset({"gpu"}), stopping=True)],
    [worker("x", type="x"), worker("y", silent_ms=40_000)],
    [worker(events=frozenset()), worker("new", envelope=9)],
]


@pytest.mark.parametrize(("state", "workers"), list(itertools.product(states(), WORKERS)))
@pytest.mark.parametrize("start", [Start(), Start(NOW - 5), Start(0, names_all=True)])
def test_whatever_is_known_there_is_a_reason(
    state: dict[str, Any], workers: list[SeenWorker], start: Start
) -> None:
    found = explain(replace(about(**state), start=start), workers)

    codes = [found.reason, *(it.reason for it in found.details)]
    assert found.sentence
    assert found.reason == reason_of(replace(about(**state), start=start), workers)
    assert not {"slots_taken", "behind", "next"} & set(codes[1:])
    assert codes == [row.code for row in TABLE if row.code in codes]


def test_a_route_is_known_from_its_job_where_the_queue_lost_it() -> None:
    lane = ROUTE.name.encode() + b":default:0"

    assert about(lane=lane, options=OPTIONS).route == ROUTE
    assert about(lane=lane, definition=to_json(ROUTE.definition)).route == ROUTE
    assert about(lane=lane, definition=b"{}", options=b"[]").route is None


def test_a_worker_is_live_up_to_ten_seconds_after_its_report() -> None:
    assert explain(about(), [worker(silent_ms=10_000)]).reason == "next"
    found = explain(about(), [worker(silent_ms=10_001)])

    assert found.reason == "no_worker"
    assert found.sentence.endswith("; it could run on w, which was last heard of 10 s ago")


def test_workers_are_not_compared_with_each_other() -> None:
    class Seen(SeenWorker):
        def __eq__(self, other: object) -> bool:
            raise AssertionError("of a thousand workers it would take seconds")

        __hash__ = None  # type: ignore[assignment]

    live, silent = worker(running=2), worker("v", silent_ms=40_000)
    workers = [Seen(it.id, it.seen_ms, it.state) for it in (live, silent)]

    assert "it could run on v" in explain(about(), workers[1:]).sentence
    assert explain(about(), workers).reason == "slots_taken"
    other = about(lane=ROUTE.name.encode() + b":default:0", options=OPTIONS)
    assert explain(other, workers).reason == "no_match"


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (b'{"expires_at":%d}' % (NOW - 1), "expired"),
        (b'{"expires_at":%d}' % (NOW + 1), "next"),
        # It was created a second ago.
        (b'{"expires_ms":999}', "expired"),
        (b'{"expires_ms":1001}', "next"),
        (b'{"expires_ms":"x"}', "next"),
        (b'{"expires_ms":1e999}', "next"),
        (b'{"expires_at":[1]}', "next"),
        (b"[1]", "next"),
        (b"no JSON", "next"),
    ],
)
def test_a_job_that_waited_too_long_has_expired(options: bytes, reason: str) -> None:
    assert explain(about(options=options), [worker()]).reason == reason


def test_a_job_that_has_begun_does_not_expire() -> None:
    again = fields(b'{"expires_ms":1}')
    for head in (b"1:7:5:1:0:0", b"1:7:5:0:0:1", b"1:7:5:0:0:0:r=1"):
        again[1] = head
        assert explain(about(fields=again), [worker()]).reason == "next"


def test_other_obstacles_of_an_expired_job_are_said() -> None:
    options = b'{"expires_ms":1}'
    paused, delayed = [b"1", None, None], b"7 0 delayed %d" % (NOW + 5)

    assert codes(explain(about(options=options, paused=paused), [worker()])) == [
        "paused", "expired",
    ]  # fmt: skip
    assert codes(explain(about(options=options, pointer=delayed), [])) == [
        "delayed", "no_worker", "expired",
    ]  # fmt: skip
    assert codes(explain(about(options=options, cancelled=1), [worker()])) == ["cancelled"]


def test_of_workers_that_are_named_it_is_said_what_they_lack() -> None:
    route = Route("workers", "e", only=("enc-2", "enc-3"))
    it = about(lane=route.name.encode() + b":default:0", definition=to_json(route.definition))

    found = explain(it, [worker("vm-0"), worker("enc-2", type="encoder")])

    assert codes(found) == ["no_match"]
    assert found.sentence.endswith("enc-2 is of type 'encoder'; enc-3 is not live")


def test_a_worker_that_leaves_a_handler_out_for_what_it_lacks_is_said_to_lack_it() -> None:
    it = about(lane=ROUTE.name.encode() + b":default:0", options=OPTIONS)

    found = explain(it, [worker("small", events=frozenset())])

    assert codes(found) == ["no_match"]
    assert found.sentence.endswith("small does not handle 'e' and lacks gpu")


def test_a_worker_that_stops_is_named_as_stopping() -> None:
    found = explain(about(), [worker(stopping=True)])

    assert found.sentence.endswith("; it could run on w, which is stopping")


def test_jobs_of_higher_priority_count_only_where_an_able_worker_reads_their_lane() -> None:
    others = [
        [b"workers:default:5", 2, b""],
        [b"encoder:default:5", 4, b""],
        [ROUTE.name.encode() + b":default:5", 8, to_json(ROUTE.definition)],
        [b"event.e:default:5", 16, b""],
        [b"event.other:default:5", 32, b""],
        [b"not a lane", 64, b""],
    ]

    plain = explain(about(higher=others), [worker()])
    gpu = explain(about(higher=others), [worker(can=frozenset({"gpu"}))])

    assert "behind 18 jobs of higher priority" in plain.sentence
    assert "behind 26 jobs of higher priority" in gpu.sentence


def test_an_unlooked_part_is_said() -> None:
    found = explain(about(before=3, more_higher=1), [worker()])

    assert "behind more than 3 jobs" in found.sentence


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (-5, "0.0 s"), (400, "0.4 s"), (9_999, "10.0 s"), (12_345, "12 s"), (200_000, "3 min 20 s"),
        (7_200_000, "2 h"), (90_000_000, "1 d 1 h"),
    ],
)  # fmt: skip
def test_durations(ms: int, text: str) -> None:
    assert for_how_long(ms) == text


def test_times_numbers_and_names() -> None:
    assert at(0) == "1970-01-01T00:00:00Z"
    assert at(1e18) == "9999-12-31T23:59:59Z"
    assert (counted(1, "job"), counted(1200, "job")) == ("1 job", "1,200 jobs")
    assert listed(["a"]) == "a"
    assert listed(["a", "b", "c"], "or") == "a, b or c"
    assert listed([*"abcdef"]) == "a, b, c, d, e and f"
    assert listed([*"abcdefgh"]) == "a, b, c, d, e and 3 others"
    assert brief("one\n  two") == "one two"
    assert len(brief("x" * 900)) == 200
