"""What explain says beside the reason, how much it looks at, and the reasons of a queue."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from consumers.admin.circumstances import Circumstances, circumstances_of
from consumers.admin.explainer import Explainer
from consumers.admin.explanation import QueueExplanation
from consumers.errors import BrokenKey
from consumers.jobs.outcome import Buried, Cancelled, Completed, Released
from consumers.jobs.routes import Route
from consumers.store.asking import waiting_ids
from tests.store.explain.bringing import GPU, WEB, expired, held, listed, of_route, running
from tests.store.explain.sentences import codes, plain
from tests.support.queue import Queue, foreign_value, new_job

# What is first, and what is beside it


async def test_other_obstacles_are_details(queue: Queue, explainer: Explainer) -> None:
    queue.emit(new_job(due="+3600000"))
    listed(queue, events=["other"])
    queue.pause()
    queue.pause("e")

    found = await explainer.job("a")

    assert codes(found) == ["delayed", "paused", "event_paused", "no_handler"]
    assert found.details[0].sentence == "queue 'default' is paused"


async def test_a_job_in_the_lane_of_its_event_is_explained_as_set_aside(
    queue: Queue, explainer: Explainer
) -> None:
    queue.settle((queue.one(), Released("no_handler", "e")))
    listed(queue, events=["other"])

    assert codes(await explainer.job("a")) == ["no_handler", "set_aside"]

    listed(queue)
    assert codes(await explainer.job("a")) == ["next", "set_aside"]


async def test_a_job_of_a_lost_worker_needs_another_one(queue: Queue, explainer: Explainer) -> None:
    expired(queue)
    listed(queue, "web-2", events=["other"])

    assert codes(await explainer.job("a")) == ["lease_expired", "no_handler"]


async def test_a_job_that_runs_has_no_details(queue: Queue, explainer: Explainer) -> None:
    running(queue, {"a": 0})
    listed(queue)
    queue.pause()

    assert codes(await explainer.job("a")) == ["running"]


# Ends


@pytest.mark.parametrize(
    ("outcome", "sentence"),
    [
        (Cancelled("no longer needed"), "was cancelled at M on web-1: no longer needed"),
        (
            Buried("failed", "ValueError: x\n at y"),
            "became a dead letter at M on web-1 (failed): …",
        ),
    ],
)
async def test_how_a_job_ended(
    queue: Queue, explainer: Explainer, outcome: Any, sentence: str
) -> None:
    queue.settle((queue.one(consumer=WEB), outcome), consumer=WEB)

    found = plain((await explainer.job("a")).sentence)

    assert found == sentence.replace("…", "ValueError: x at y")


async def test_a_run_that_ended_is_explained_beside_a_live_one(
    queue: Queue, explainer: Explainer
) -> None:
    queue.settle((queue.one(), Completed(b"1")))
    queue.emit(new_job())
    listed(queue)

    assert (await explainer.job("a", 1)).reason == "ended"
    assert (await explainer.job("a", 2)).reason == "next"
    assert (await explainer.job("a", 7)).reason == "unknown"


# Workers that hold it


async def test_a_job_that_was_just_handed_out_is_not_called_held(
    queue: Queue, explainer: Explainer
) -> None:
    running(queue)
    listed(queue, ago_ms=6_000)

    found = await explainer.job("a")

    assert (found.reason, plain(found.sentence)) == (
        "running",
        "web-1 got it T ago; its start is not reported yet",
    )


async def test_a_job_is_running_on_a_worker_that_is_silent(
    queue: Queue, explainer: Explainer
) -> None:
    running(queue, {"a": 0})
    listed(queue, ago_ms=40_000)

    found = plain((await explainer.job("a")).sentence)

    assert found == "has been running on web-1 for T; web-1 was last heard of T ago"


async def test_a_job_that_killed_workers_waits_to_run_alone(
    queue: Queue, explainer: Explainer
) -> None:
    held(queue)
    (row,) = queue.redis.xpending_range(queue.stream().key, "workers", "-", "+", 1)
    queue.redis.xclaim(
        queue.stream().key, "workers", WEB, 0, [row["message_id"]], idle=5_000, retrycount=3
    )

    found = (await explainer.job("a")).sentence

    assert found == (
        "is held by web-1 and has not started: 2 workers died with it, so it waits to run alone "
        "there"
    )


# How much is before it


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [(0, 0, "nothing"), (1, 0, "1 job"), (99, 200, "99 jobs"), (150, 0, "150 jobs"),
     (150, 150, "more than 100 jobs")],
)  # fmt: skip
async def test_a_bounded_number_of_entries_is_counted(
    queue: Queue, explainer: Explainer, before: int, after: int, said: str
) -> None:
    listed(queue)
    queue.emit(*(new_job(f"b{n}") for n in range(before)), new_job())
    queue.emit(*(new_job(f"c{n}") for n in range(after)), new_job("last"))

    found = (await explainer.job("a")).sentence

    assert f"it is behind {said}" in found or f"{said} is before it" in found


async def test_what_was_handed_back_comes_before_the_lane(
    queue: Queue, explainer: Explainer
) -> None:
    listed(queue)
    queue.emit(new_job("back"))
    queue.settle(*((it, Released("stop")) for it in queue.deliver()))
    queue.emit(new_job())

    assert (await explainer.job("back")).reason == "next"
    assert "behind 1 job" in (await explainer.job("a")).sentence


async def test_payloads_before_a_job_are_read_up_to_a_megabyte(
    queue: Queue, explainer: Explainer
) -> None:
    listed(queue)
    large = b'"' + b"x" * 200_000 + b'"'
    for n in range(20):
        queue.emit(new_job(f"b{n}", data=large))
    queue.emit(new_job(data=large))
    for n in range(20):
        queue.emit(new_job(f"c{n}", data=large))

    assert "behind more than 6 jobs" in (await explainer.job("a")).sentence


# Queues


async def test_the_reasons_of_a_queue_are_counted(queue: Queue, explainer: Explainer) -> None:
    listed(queue)
    queue.emit(*(new_job(f"b{n}") for n in range(3)))
    queue.emit(*(new_job(f"x{n}", "other") for n in range(4)))
    queue.emit(new_job("later", due="+3600000"))

    found = await explainer.queue()

    assert (found.jobs, found.looked_at) == (8, 8)
    assert [(it.reason, it.jobs, it.example) for it in found.reasons] == [
        ("no_handler", 4, "x0"), ("behind", 2, "b1"), ("delayed", 1, "later"), ("next", 1, "b0"),
    ]  # fmt: skip
    assert "handles event 'other'" in found.reasons[0].sentence


async def test_at_most_500_jobs_of_a_queue_are_looked_at(
    queue: Queue, explainer: Explainer
) -> None:
    listed(queue)
    for at in range(0, 700, 100):
        queue.emit(*(new_job(f"b{n}") for n in range(at, at + 100)))
    queue.emit(new_job("gpu", type="encoder"))

    found = await explainer.queue()

    assert (found.jobs, found.looked_at) == (701, 500)
    assert [(it.reason, it.jobs) for it in found.reasons] == [
        ("behind", 498), ("next", 1), ("no_worker", 1),
    ]  # fmt: skip


async def test_lanes_of_the_highest_priority_are_looked_at_first(
    queue: Queue, explainer: Explainer
) -> None:
    routes = [Route("workers", "e", requires=(f"c{n}",)) for n in range(270)]
    for at in range(0, 270, 90):
        queue.emit(*(of_route(it, it.name) for it in routes[at : at + 90]))
    queue.emit(new_job("own", type="event.e"), new_job("low", priority=-5))
    queue.emit(new_job("high", "other", priority=9, type="encoder"))

    found = await explainer.queue()

    # Of 273 lanes.
    assert (found.jobs, found.looked_at, found.more_lanes) == (256, 256, 17)
    assert "no_worker" in {it.reason for it in found.reasons}
    assert queue.run(waiting_ids(queue.keys, 500, 1)) == [1, [b"high"], 272]
    jobs, ids, more = queue.run(waiting_ids(queue.keys, 500, 272))
    assert (jobs, b"low" in ids, b"own" in ids, more) == (272, True, False, 1)


async def test_all_jobs_of_a_queue_are_judged_by_one_moment(
    queue: Queue, explainer: Explainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def a_minute_later(*answer: Any) -> Circumstances:
        it = circumstances_of(*answer)
        return replace(it, now_ms=it.now_ms + 60_000)

    listed(queue)
    queue.emit(new_job())
    monkeypatch.setattr("consumers.admin.explainer.circumstances_of", a_minute_later)

    (found,) = (await explainer.queue()).reasons

    assert (found.reason, found.sentence[:13]) == ("next", "waits in lane")


@pytest.mark.parametrize("stored", [b"x", b""])
async def test_a_foreign_value_in_place_of_the_routes_hides_what_they_require(
    queue: Queue, explainer: Explainer, stored: bytes
) -> None:
    queue.emit(of_route(GPU))
    listed(queue)
    queue.redis.delete(queue.keys.routes)
    queue.redis.set(queue.keys.routes, stored)

    # Its job has it as well.
    assert codes(await explainer.job("a")) == ["no_match"]
    assert [it.reason for it in (await explainer.queue()).reasons] == ["no_match"]


@pytest.mark.parametrize("at", [b"9" * 5000, b"-1", b"", b"\xb2"])
async def test_a_row_of_the_workers_that_is_none_of_ours_is_passed_over(
    queue: Queue, explainer: Explainer, at: bytes
) -> None:
    queue.emit(new_job())
    listed(queue)
    told = queue.redis.hget(queue.keys.workers, "web-1.0a").partition(b" ")[2]
    queue.redis.hset(queue.keys.workers, "other.0a", at + b" " + told)

    assert (await explainer.job("a")).reason == "next"


async def test_a_queue_that_nobody_used_has_no_reasons(explainer: Explainer) -> None:
    assert await explainer.queue() == QueueExplanation(0, 0, [])


async def test_a_foreign_value_in_place_of_the_workers_is_named(
    queue: Queue, explainer: Explainer
) -> None:
    with (
        foreign_value(queue.redis, queue.keys.workers),
        pytest.raises(BrokenKey, match="workers"),
    ):
        await explainer.job("a")
