"""Rows A1 to A18 of the fault catalogue: what happens to processes and inside handlers."""

from __future__ import annotations

import asyncio
import re
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any, cast

import pytest
import redis as redis_py

from consumers.fetch.reclaimer import Reclaimer
from consumers.jobs.job import Job
from consumers.lease.renewer import Renewer
from consumers.store.settling import SETTLE
from tests.catalogue.rude_handlers import RUDE
from tests.processes.stage import LEASE, RECOVERY, SLACK, Stage, nap, stop
from tests.support.engine import SHORT_LEASE, QueueView, emitting, letter_of, new_job, working
from tests.support.servers import RedisServer
from tests.support.waiting import aeventually, eventually

FAULTS = "tests.catalogue.apps.faults"
# Seconds that nothing here outlasts: what comes does not come by waiting for it.
FOR_EVER = 3600.0
pytestmark = pytest.mark.timeout(300)

# A1 to A5: killed, told to stop, frozen


@pytest.mark.parametrize("event", ["nap", "nap-in-thread"])
def test_row_a1_g1_g7_the_job_of_a_killed_worker_is_run_by_another_and_no_attempt_is_burnt(
    stage: Stage, event: str
) -> None:
    first = stage.worker("jobs", lease=LEASE)
    stage.emit(event, {"first": FOR_EVER}, id="job")
    (before,) = eventually(stage.witness.started, SLACK)
    second = stage.worker("jobs", lease=LEASE)

    first.kill()
    stage.completed(1, RECOVERY + SLACK)

    after = stage.witness.started()[-1]
    assert (before.pid, before.delivery, before.attempt) == (first.pid, 1, 1)
    assert (after.pid, after.delivery, after.attempt) == (second.pid, 2, 1)
    assert len(stage.witness.started()) == 2
    assert [it.pid for it in stage.witness.finished()] == [second.pid]
    assert stage.waiting() == 0


def test_row_a2_g11_running_jobs_finish_and_held_ones_start_elsewhere_meanwhile(
    stage: Stage,
) -> None:
    slots, held = 8, 2
    patient = {"lease": FOR_EVER, "shutdown_timeout": FOR_EVER}
    stopping = stage.worker("jobs", "-c", str(slots), **patient)
    stage.emit_many(*(stage.gate.job(number) for number in range(slots + held)))
    eventually(lambda: len(stage.witness.started()) == slots, SLACK)

    stopping.terminate()
    eventually(lambda: stage.stat("released") == held, SLACK)
    other = stage.worker("jobs", "-c", "2", **patient)
    eventually(lambda: len(stage.witness.started()) == slots + held, SLACK)
    assert stage.witness.finished() == []
    stage.gate.open()

    stage.completed(slots + held)
    assert stopping.wait() == 0
    moved = [it for it in stage.witness.started() if it.pid == other.pid]
    assert len(moved) == held
    assert {(it.delivery, it.attempt) for it in moved} == {(2, 1)}
    assert sum(it.pid == stopping.pid for it in stage.witness.finished()) == slots
    assert len(stage.witness.started()) == slots + held


@pytest.mark.parametrize(
    ("app", "event", "data"),
    [
        ("jobs", "nap", {"seconds": FOR_EVER}),
        ("rude", "stubborn", {}),
        ("rude", "endless", {}),
    ],
)
def test_row_a3_g11_a_job_that_outlives_the_grace_period_is_released(
    stage: Stage, app: str, event: str, data: dict[str, object]
) -> None:
    grace = 1.0
    worker = stage.worker(app, shutdown_timeout=grace, lease=FOR_EVER)
    stage.emit(event, data, id="job")
    eventually(stage.witness.started, SLACK)

    asked = time.monotonic()
    stop(worker)

    assert time.monotonic() - asked >= grace
    assert stage.stat("released") == stage.waiting() == 1
    stage.worker(app, shutdown_timeout=grace, lease=FOR_EVER)
    eventually(lambda: len(stage.witness.started()) == 2, SLACK)
    assert [(it.delivery, it.attempt) for it in stage.witness.started()] == [(1, 1), (2, 1)]
    assert stage.letters() == {}


def test_row_a3_g11_the_second_signal_cancels_and_hands_back(stage: Stage) -> None:
    worker = stage.worker("jobs", "-c", "4", shutdown_timeout=FOR_EVER, lease=FOR_EVER)
    stage.emit_many(*(nap(number, seconds=FOR_EVER) for number in range(4)))
    eventually(lambda: len(stage.witness.started()) == 4, SLACK)

    # Another signal than the first: two alike in a row may become one.
    worker.terminate()
    worker.interrupt()

    assert worker.wait() == 0, worker.text
    assert len(stage.witness.lines("CancelledError")) == 4
    assert stage.stat("released") == stage.waiting() == 4
    stage.worker("jobs", "-c", "4", shutdown_timeout=1)
    eventually(lambda: len(stage.witness.started()) == 8, SLACK)
    assert {(it.delivery, it.attempt) for it in stage.witness.started()[4:]} == {(2, 1)}


def test_row_a4_g2_a_frozen_worker_commits_nothing_after_its_lease(stage: Stage) -> None:
    """Whatever it was about to record: results with children, failures, progress, logs."""
    half = 4
    jobs = [f"p-{n}" for n in range(half)] + [f"r-{n}" for n in range(half)]
    kinds = {"p": "parent", "r": "report"}
    frozen = stage.worker(FAULTS, "-c", "8", lease=LEASE)
    stage.emit_many(*({"event": kinds[it[0]], "data": {"seconds": 1}, "id": it} for it in jobs))
    eventually(lambda: len(stage.witness.started()) == len(jobs), SLACK)

    frozen.pause()
    stage.worker(FAULTS, "-c", "8", lease=LEASE)
    eventually(lambda: stage.stat("dead") == half, RECOVERY + SLACK)
    stage.completed(2 * half)
    frozen.resume()

    # Finished or cancelled, as far as the zombie is concerned.
    eventually(lambda: sorted(ended_in(stage, frozen.pid)) == sorted(jobs), SLACK)
    stop(frozen)
    assert (stage.stat("completed"), stage.stat("dead"), stage.waiting()) == (2 * half, half, 0)
    children = Counter(it.job for it in stage.witness.started() if it.event == "nap")
    assert children == {f"child-of-p-{n}": 1 for n in range(half)}
    assert all(deliveries(stage, job) == [1, 2] for job in jobs)
    assert [notes(stage, f"r-{n}") for n in range(half)] == [("2", ["delivery 2"])] * half


def test_row_a4_what_a_zombie_still_runs_is_cancelled_and_not_taken_back(stage: Stage) -> None:
    frozen = stage.worker(FAULTS, lease=LEASE)
    stage.emit_many(stage.gate.job(1))
    eventually(stage.witness.started, SLACK)

    frozen.pause()
    owner = stage.worker(FAULTS, lease=LEASE)
    eventually(lambda: len(stage.witness.started()) == 2, RECOVERY + SLACK)
    frozen.resume()

    # While it still runs at its owner's.
    eventually(lambda: ended_in(stage, frozen.pid), SLACK)
    assert stage.witness.finished() == []
    stage.gate.open()
    assert [it.what for it in stage.witness.lines() if it.pid == frozen.pid][1:] == [
        "CancelledError"
    ]
    stage.completed(1)
    assert [it.pid for it in stage.witness.finished()] == [owner.pid]
    assert deliveries(stage, "job-1") == [1, 2]


async def test_row_a4_who_is_told_at_a_renewal_that_its_lease_is_anothers_cancels_the_handler(
    server: RedisServer, redis: redis_py.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the first one: long before its lease would have run out by its own clock."""
    lease, queue = 12.0, QueueView(redis)
    # Whether the lease had been stolen when each renewal began.
    renewals: list[bool] = []
    stolen, cancelled = threading.Event(), list[int]()
    renew = Renewer._renew

    def noting(self: Renewer, *given: Any) -> None:
        renewals.append(stolen.is_set())
        renew(self, *given)

    async def work(job: Job[None]) -> None:
        try:
            await asyncio.sleep(FOR_EVER)
        except asyncio.CancelledError:
            cancelled.append(renewals.count(True))
            raise

    monkeypatch.setattr(Renewer, "_renew", noting)
    # Not by its own clock, however late a renewal is on a busy machine.
    monkeypatch.setattr("consumers.lease.leases.Leases.expired", lambda self: [])
    async with (
        emitting(server.url) as emit,
        working(server.url, {"work": work}, lease=lease) as worker,
    ):
        await emit("work")
        await aeventually(lambda: worker.running == 1)
        [(_, entry, _, _)] = queue.pending()
        queue.steal(entry)
        stolen.set()
        await aeventually(lambda: cancelled and worker.running == 0)

        # None, if one had just begun when it was stolen.
        assert cancelled[0] <= 1
        assert [(of, count) for _, _, of, count in queue.pending()] == [("thief.0", 2)]


def ended_in(stage: Stage, pid: int) -> list[str]:
    """The jobs of which a process has noted an end, whatever it was."""
    return [it.job for it in stage.witness.lines() if it.pid == pid and it.what != "started"]


def deliveries(stage: Stage, job_id: str) -> list[int]:
    """With which delivery counts a job was started, in order."""
    return [it.delivery for it in stage.witness.started(job_id)]


def notes(stage: Stage, job_id: str) -> tuple[str | None, list[str]]:
    """How far a job said it was, and the lines of its log."""
    with stage.server.client(decode_responses=True) as client:
        done = client.hget(stage.keys.progress(job_id), "done")
        lines = client.lrange(stage.keys.log(job_id), 0, -1)
    return cast("str | None", done), [it.split(" ", 1)[1] for it in cast("list[str]", lines)]


def test_row_a5_a_worker_that_is_frozen_for_less_than_its_lease_keeps_its_job(
    stage: Stage,
) -> None:
    lease = 10.0
    frozen = stage.worker(FAULTS, lease=lease)
    stage.emit("nap", {"seconds": 3}, id="job")
    eventually(stage.witness.started, SLACK)
    stage.worker(FAULTS, lease=lease)

    frozen.pause()
    # The fault itself. It may have begun a third of the lease after the last renewal.
    time.sleep(lease / 4)
    frozen.resume()

    stage.completed(1)
    (run,) = stage.witness.started()
    assert (run.pid, run.delivery) == (frozen.pid, 1)
    assert stage.stat("fenced") == 0


# A6 to A8: handlers that block, hang and hear nothing


def test_row_a6_g8_a_handler_that_blocks_the_loop_for_three_leases_is_run_once_and_named(
    stage: Stage,
) -> None:
    workers = [stage.worker("jobs", lease=LEASE) for _ in range(2)]

    stage.emit("block", {"seconds": 3 * LEASE}, id="job")

    stage.completed(1, 3 * LEASE + SLACK)
    (run,) = stage.witness.started()
    (end,) = stage.witness.finished()
    assert run.delivery == 1
    assert end.monotonic - run.monotonic >= 3 * LEASE
    (blocked,) = (it for it in workers if it.pid == run.pid)
    assert re.search(r"event loop blocked .* by block \(.*jobs\.py:\d+\)", blocked.text)


def test_row_a7_threads_that_hang_past_their_timeout_cost_no_slot_and_at_last_the_worker(
    stage: Stage,
) -> None:
    check_runs_that_do_not_end(stage, "hang")


def test_row_a8_handlers_that_swallow_their_cancellation_cost_no_slot_and_at_last_the_worker(
    stage: Stage,
) -> None:
    """The engine does more than the row asks: the job is settled as timed out, not left to others.

    The worker ends once there are too many such runs, as with threads.
    """
    check_runs_that_do_not_end(stage, "deaf")


def check_runs_that_do_not_end(stage: Stage, event: str) -> None:
    slots, too_many = 4, 9
    worker = stage.worker(FAULTS, "-c", str(slots), shutdown_timeout=1)
    stuck = [{"event": event, "id": f"stuck-{n}"} for n in range(too_many)]
    stage.emit_many(*stuck[:slots])
    eventually(lambda: len(stage.letters()) == slots, SLACK)
    assert all("JobTimeout" in letter["error"] for letter in stage.letters().values())

    # No slot and no thread is lost: as many as before run at a time.
    stage.emit_many(*(stage.gate.job(n, "wait-in-thread") for n in range(slots)))
    eventually(lambda: len(stage.witness.started()) == 2 * slots, SLACK)
    stage.gate.open()
    stage.completed(slots)

    stage.emit_many(*stuck[slots:])
    assert worker.wait(3 * SLACK) == 1, worker.text
    assert f"{too_many} runs continue after their timeout" in worker.text
    stage.worker(FAULTS)
    stage.emit("nap", id="elsewhere")
    stage.completed(slots + 1)


async def test_row_a8_a_run_that_lost_its_lease_and_hears_nothing_gives_its_slot_back(
    server: RedisServer, redis: redis_py.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At its timeout, as any other run: until then its handler may still be cleaning up."""
    monkeypatch.setattr("consumers.run.executor.END_PATIENCE", 0.2)
    queue, may_end, ran = QueueView(redis), threading.Event(), list[str]()

    def hang(job: Job[None]) -> None:
        may_end.wait(60.0)

    async def work(job: Job[None]) -> None:
        ran.append(job.id)

    handlers = {"hang": hang, "work": work}
    async with (
        emitting(server.url) as emit,
        working(server.url, handlers, lease=SHORT_LEASE) as worker,
    ):
        await emit.producer.emit(new_job("hang", id="hang", options={"timeout": 3.0}))
        await aeventually(lambda: worker.running == 1)
        [(stream, entry, _, _)] = queue.pending()
        # Another worker took it over and settled it.
        redis.xack(stream, "workers", entry)
        redis.xdel(stream, entry)
        await emit("work")
        try:
            await aeventually(lambda: ran == ["work-1"])
        finally:
            may_end.set()
        await aeventually(queue.is_empty)

    assert queue.letters() == []
    assert queue.stats("completed") == 1


# A9 to A13: what handlers raise, and jobs that kill


@pytest.mark.parametrize("what", RUDE["a9"])
async def test_row_a9_a_cancellation_that_nobody_asked_for_is_a_failure(
    server: RedisServer, redis: redis_py.Redis, what: str
) -> None:
    await check_it_ends_its_own_job_only(server, redis, *RUDE["a9"][what])


@pytest.mark.parametrize("what", RUDE["a10"])
async def test_row_a10_what_would_end_a_process_ends_its_own_job_only(
    server: RedisServer, redis: redis_py.Redis, what: str
) -> None:
    await check_it_ends_its_own_job_only(server, redis, *RUDE["a10"][what])


@pytest.mark.parametrize("what", RUDE["a11"])
async def test_row_a11_a_stop_iteration_is_a_failure_and_hangs_nobody(
    server: RedisServer, redis: redis_py.Redis, what: str
) -> None:
    await check_it_ends_its_own_job_only(server, redis, *RUDE["a11"][what])


@pytest.mark.parametrize("what", RUDE["a13"])
async def test_row_a13_running_out_of_stack_or_memory_ends_its_own_job_only(
    server: RedisServer, redis: redis_py.Redis, what: str
) -> None:
    await check_it_ends_its_own_job_only(server, redis, *RUDE["a13"][what])


async def check_it_ends_its_own_job_only(
    server: RedisServer, redis: redis_py.Redis, handler: Callable[..., Any], text: str
) -> None:
    letter = await letter_of(server.url, redis, handler)

    error = letter["error"].decode()
    assert letter["reason"] == b"failed"
    assert text in error
    # The traceback names the place.
    assert handler.__name__ in error
    assert len(error) <= 16 * 1024


def test_row_a12_g5_a_poison_job_ends_as_crash_loop_and_its_neighbours_complete(
    stage: Stage,
) -> None:
    poison = {"event": "poison", "data": {"seconds": 0.2}, "id": "poison"}
    innocent = [nap(number, seconds=0.5) for number in range(20)]
    stage.emit_many(*innocent[:3], poison, *innocent[3:])

    # Fewer than by default, since each delivery costs a lease.
    stage.starting(FAULTS, "-p", "2", "-c", "20", lease=LEASE, max_deliveries=3)

    eventually(lambda: "poison" in stage.letters(), 5 * RECOVERY + 2 * SLACK)
    stage.completed(20)
    letter = stage.letters().pop("poison")
    deaths = stage.witness.started("poison")
    assert list(stage.letters()) == ["poison"]
    assert letter["reason"] == "crash_loop"
    assert len(deaths) == 4
    assert {it.attempt for it in stage.witness.lines()} == {1}
    assert {it.job for it in stage.witness.finished()} == {f"job-{n}" for n in range(20)}
    # From its second crash on it ran alone.
    for death in deaths[2:]:
        assert beside(stage, death.pid, death.monotonic) == []


def beside(stage: Stage, pid: int, moment: float) -> list[str]:
    """What ran in a process at a moment, apart from the poison."""
    runs = [it for it in stage.witness.lines() if it.pid == pid and it.event == "nap"]
    begun = {it.job for it in runs if it.what == "started" and it.monotonic <= moment}
    return sorted(begun - {it.job for it in runs if it.what != "started"})


# A14 to A18: versions, forks, storms, crashes around the commit


def test_row_a14_g14_jobs_of_a_new_event_are_run_by_the_one_new_worker_after_one_hand_over(
    stage: Stage,
) -> None:
    """Envelopes of a newer version are kept likewise: G14 in tests/fundamentals."""
    jobs = 500
    old = [stage.starting("old") for _ in range(9)]
    new = stage.starting("new")
    for worker in (*old, new):
        worker.wait_for_line("worker .* started")

    stage.emit_many(*({"event": "fresh", "id": f"job-{number}"} for number in range(jobs)))

    stage.completed(jobs)
    runs = stage.witness.started()
    assert {it.pid for it in runs} == {new.pid}
    assert len(runs) == len({it.job for it in runs}) == jobs
    # From an old worker straight to the new one, none to another old one in between.
    assert {(it.delivery, it.attempt) for it in runs} <= {(1, 1), (2, 1)}
    assert stage.letters() == {}
    assert stage.waiting() == 0


@pytest.mark.parametrize("manner", ["blocking", "awaiting", "within_a_loop"])
def test_row_a15_a_forked_process_emits_through_a_writer_of_its_own(
    stage: Stage, manner: str
) -> None:
    jobs = 50

    script = stage.script("forks.py", str(jobs), manner)

    assert script.wait() == 0, script.text
    assert "Traceback" not in script.text
    ids = {"before"} | {f"{side}-{n}" for side in ("parent", "child") for n in range(jobs)}
    assert set(stage.waiting_ids()) == ids
    # In one manner the parent has two loops, one after the other.
    assert stage.writers() == (3 if manner == "awaiting" else 2)


def test_row_a15_a_handler_that_forks_keeps_its_connections_to_itself(stage: Stage) -> None:
    jobs = 5
    worker = stage.worker(FAULTS, "-c", "4", lease=LEASE)

    stage.emit_many(*({"event": "fork", "id": f"job-{number}"} for number in range(jobs)))

    stage.completed(3 * jobs)
    names = [f"{of}job-{n}" for of in ("", "of-child-", "of-parent-") for n in range(jobs)]
    assert Counter(it.job for it in stage.witness.started()) == dict.fromkeys(names, 1)
    assert {it.pid for it in stage.witness.started()} == {worker.pid}
    assert stage.stat("fenced") == 0
    assert "Traceback" not in worker.text
    stop(worker)


@pytest.mark.timeout(400)
async def test_row_a16_many_workers_that_start_at_once_sweep_at_different_times(
    server: RedisServer, redis: redis_py.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """100 of them in one process: 200 processes would measure the machine, not Redis."""
    workers, lease = 100, 60.0
    # In how many seconds each means to sweep again.
    pauses: dict[int, float] = {}
    sweep = Reclaimer.sweep

    async def noted(self: Reclaimer, want: int) -> Any:
        taken = await sweep(self, want)
        pauses.setdefault(id(self), self.due_in)
        return taken

    monkeypatch.setattr(Reclaimer, "sweep", noted)
    async with emitting(server.url) as emit, AsyncExitStack() as fleet:
        # Something is pending all the time: only then does a sweep look closer.
        await asyncio.gather(*(emit("work") for _ in range(100)))
        QueueView(redis).abandon(count=100)
        redis.config_resetstat()
        workings = [working(server.url, {}, lease=lease) for _ in range(workers)]
        await asyncio.gather(*(fleet.enter_async_context(it) for it in workings))
        # The first sweep is part of the start: after a deploy there may be orphans.
        await aeventually(lambda: len(pauses) == workers, within=120.0)
        looks = facts(redis, "commandstats")["cmdstat_xpending"]["calls"]

    # Between a quarter and a half of the lease after the first, not all at one moment.
    assert max(pauses.values()) <= lease / 2
    per_second = Counter(int(pause) for pause in pauses.values())
    assert max(per_second.values()) < workers / 4, per_second
    # A look at each stream whether anything is pending, and those of the script that looks closer.
    assert looks <= 5 * workers


def facts(redis: redis_py.Redis, section: str) -> dict[str, Any]:
    return cast("dict[str, Any]", redis.info(section))


@pytest.mark.parametrize("cut", ["settle.in_flight", "settle.answered"])
def test_row_a17_a_crash_after_the_commit_runs_nothing_again(stage: Stage, cut: str) -> None:
    keys = effects_around_a_crash(stage, cut)

    stage.completed(2)
    assert deliveries(stage, "job") == [1]
    assert len(keys) == 1


@pytest.mark.parametrize("cut", ["settle.decided", "settle.before_send"])
def test_row_a18_a_crash_before_the_commit_repeats_the_effect_under_the_same_key(
    stage: Stage, cut: str
) -> None:
    first, second = effects_around_a_crash(stage, cut)

    stage.completed(2)
    assert deliveries(stage, "job") == [1, 2]
    assert {it.attempt for it in stage.witness.started()} == {1}
    assert first == second


def effects_around_a_crash(stage: Stage, cut: str) -> list[str]:
    """Cut a worker off where it settles a job and let another one go on; return the effects."""
    with stage.server.client() as client:
        # Otherwise what is in flight at the end is refused for want of its text.
        client.script_load(SETTLE.source)
        first = stage.worker(FAULTS, lease=LEASE, cut=cut)
        stage.emit("keyed", id="job")
        assert first.wait() == 137, first.text
        queue = QueueView(client)
        queue.expire()
        stage.worker(FAULTS, lease=LEASE)
        stage.emit("nap", id="later")
        # It sweeps before its first read: nothing else will come back.
        eventually(queue.is_empty, RECOVERY + SLACK)
    return [it.what for it in stage.witness.lines() if it.what.startswith("effect")]
