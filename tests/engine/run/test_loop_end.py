"""An event loop that ends without a stop: what runs on it decides nothing (G1, G5)."""

from __future__ import annotations

import asyncio
import gc
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
import redis as redis_py

from consumers.consumer import Consumer
from consumers.jobs.envelope import Envelope, read_envelope
from consumers.jobs.job import Job
from consumers.store.settling import Settled
from tests.support.engine import QueueView, consumer_of, emitting
from tests.support.facade import ROOT
from tests.support.proxy import FaultProxy
from tests.support.servers import RedisServer
from tests.support.waiting import aeventually, eventually

JOBS = 3


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    """Collect here, and not in a later test, what the loops that ended left open."""
    yield
    eventually(lambda: not any(it.name == "lease-renewer" for it in threading.enumerate()), 30)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        gc.collect()


class ApplicationError(Exception):
    """What ends the application's main() in these tests."""


async def _sleeps(job: Job[None]) -> None:
    await asyncio.sleep(60)


async def _swallows_it(job: Job[None]) -> str:
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        return "as much as there was time for"
    return "all"


async def _fails_to_clean_up(job: Job[None]) -> None:
    try:
        await asyncio.sleep(60)
    finally:
        raise ConnectionError("the pool is closed")


async def _sleeps_in_a_group(job: Job[None]) -> None:
    async with asyncio.TaskGroup() as group:
        for _ in range(2):
            group.create_task(asyncio.sleep(60))


async def _sleeps_within_a_timeout(job: Job[None]) -> None:
    async with asyncio.timeout(50):
        await asyncio.sleep(60)


def run_until_main_fails(
    server: RedisServer,
    handler: Callable[..., Any],
    have_begun: Callable[[Consumer], bool],
    *,
    jobs: int = JOBS,
    **options: Any,
) -> None:
    """Run jobs on a loop whose main() raises as soon as they have begun."""

    async def main() -> None:
        consumer = consumer_of(server.url, {"warm-up": _returns, "work": handler}, **options)
        async with emitting(server.url) as emit:
            await consumer.start()
            # Redis knows the settle script from here on, as in any worker that ran a job.
            await emit("warm-up")
            await aeventually(lambda: consumer.settled == 1, 30)
            await asyncio.gather(*(emit("work") for _ in range(jobs)))
            await aeventually(lambda: have_begun(consumer), 30)
        raise ApplicationError

    with pytest.raises(ApplicationError):
        asyncio.run(main())


async def _returns(job: Job[None]) -> None:
    pass


def waiting_in_front(redis: redis_py.Redis) -> list[Envelope]:
    """Return what was handed back."""
    entries: Any = redis.xrange(QueueView(redis).lane(front=True))
    found = [
        read_envelope([part for field in fields.items() for part in field]) for _, fields in entries
    ]
    return [envelope for envelope in found if envelope is not None]


@pytest.mark.parametrize(
    "handler",
    [
        _sleeps,
        _swallows_it,
        _fails_to_clean_up,
        _sleeps_in_a_group,
        _sleeps_within_a_timeout,
    ],
)
def test_jobs_that_run_when_the_loop_ends_go_back_without_an_attempt_or_a_crash(
    server: RedisServer, redis: redis_py.Redis, handler: Callable[..., Any]
) -> None:
    """asyncio.run cancels every task: without retries left each running job was buried."""
    running: list[str] = []

    async def work(job: Job[None]) -> Any:
        running.append(job.id)
        return await handler(job)

    run_until_main_fails(server, work, lambda _: len(running) == JOBS, concurrency=JOBS)

    queue = QueueView(redis)
    assert queue.letters() == []
    assert queue.stats("completed") == 1
    back = waiting_in_front(redis)
    assert sorted(it.id for it in back) == ["work-1", "work-2", "work-3"]
    assert [(it.failures, it.crashes) for it in back] == [(0, 0)] * JOBS


def test_jobs_that_are_held_when_the_loop_ends_go_back_and_do_not_begin(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    running: list[str] = []

    async def work(job: Job[None]) -> None:
        running.append(job.id)
        await asyncio.sleep(60)

    def one_is_held(consumer: Consumer) -> bool:
        assert consumer._parts is not None
        return len(running) == 4 and len(consumer._parts.fetcher.held) == 1

    run_until_main_fails(server, work, one_is_held, jobs=5, concurrency=4)

    assert len(running) == 4
    assert [(it.failures, it.crashes) for it in waiting_in_front(redis)] == [(0, 0)] * 5


def test_a_thread_that_goes_on_when_the_loop_ends_decides_nothing_and_holds_up_nothing(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    """Its job was settled as dead, or the end of the loop waited for it."""
    running: list[Job[None]] = []
    go_on = threading.Event()

    def work(job: Job[None]) -> None:
        running.append(job)
        go_on.wait(60)

    try:
        run_until_main_fails(server, work, lambda _: len(running) == JOBS, concurrency=JOBS)

        assert not go_on.is_set()
        assert all(job.cancelled for job in running)
    finally:
        go_on.set()
    queue = QueueView(redis)
    assert queue.letters() == []
    assert queue.stats("completed") == 1
    # Nobody else may begin them before their leases end.
    assert len(queue.pending()) == JOBS


def test_an_outcome_on_its_way_when_the_loop_ends_is_not_told_as_refused(
    server: RedisServer,
) -> None:
    """It was sent once more beside others, as something new, when Redis had it already."""
    told: list[tuple[str, bool]] = []

    class Telemetry:
        def settled_many(self, settled: Sequence[Settled]) -> None:
            told.extend((it.settlement.delivery.envelope.id, it.recorded) for it in settled)

    async def main(proxy: FaultProxy) -> None:
        handlers = {"quick": _returns, "work": _sleeps}
        consumer = consumer_of(proxy.url, handlers, concurrency=2, telemetry=Telemetry())
        async with emitting(server.url) as emit:
            await consumer.start()
            await asyncio.gather(emit("quick"), emit("work"))
            await aeventually(lambda: consumer.settled == 1, 30)
            proxy.latency(0.2)
            await emit("quick")
            assert consumer._parts is not None
            settler = consumer._parts.settler
            await aeventually(lambda: settler.backlog == 1, 30)
        raise ApplicationError

    with FaultProxy(server.port) as proxy, pytest.raises(ApplicationError):
        asyncio.run(main(proxy))

    assert [name for name, recorded in told if not recorded] == []


APP = """
import asyncio
from taskmanager import TaskManager

tm = TaskManager({url!r}, concurrency=4)

@tm.registerHandler(event="warm-up")
async def warm_up(job):
    pass

@tm.registerHandler(event="work")
async def work(job):
    print("began", flush=True)
    await asyncio.sleep(60)

async def main():
    await tm.start()
    await (await tm.emit("warm-up")).result(30)
    await tm.emit("work")
    await asyncio.Event().wait()

asyncio.run(main())
"""


def test_ctrl_c_in_a_program_that_only_starts_a_worker_hands_its_job_back(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", APP.format(url=server.url)],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    ) as program:  # fmt: skip
        assert program.stdout is not None
        assert program.stdout.readline() == b"began\n"
        program.send_signal(signal.SIGINT)
        program.wait(30)

    assert QueueView(redis).letters() == []
    assert [(it.event, it.failures, it.crashes) for it in waiting_in_front(redis)] == [
        ("work", 0, 0)
    ]
