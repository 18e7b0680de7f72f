"""G8: a handler that blocks the event loop does not lose its job."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

import pytest
import redis as redis_py

from consumers.jobs.job import Job
from tests.support.engine import (
    SHORT_LEASE,
    QueueView,
    emit_one_to_run_and_one_to_hold,
    emitting,
    working_thread,
)
from tests.support.proxy import FaultProxy
from tests.support.queue import Queue, new_job
from tests.support.servers import RedisServer
from tests.support.waiting import aeventually

pytestmark = pytest.mark.timeout(180)


async def test_g8_a_blocked_loop_keeps_its_lease_and_commits(
    server: RedisServer, redis: redis_py.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    queue = QueueView(redis)
    runs: list[int] = []

    async def work(job: Job[None]) -> str:
        runs.append(job.delivery)
        block_the_loop(3 * SHORT_LEASE)
        return "committed"

    with caplog.at_level(logging.WARNING):
        async with emitting(server.url) as emit:
            # The second worker is idle on a loop of its own, and sweeps.
            with (
                working_thread(server.url, {"work": work}, lease=SHORT_LEASE) as one,
                working_thread(server.url, {"work": work}, lease=SHORT_LEASE) as other,
            ):
                await emit("work")
                await aeventually(queue.is_empty)
                await aeventually(lambda: one.settled + other.settled == 1)

                assert (one.fenced, other.fenced) == (0, 0)

    assert runs == [1]
    assert queue.result("work-1") == "committed"
    [said] = [line for line in caplog.messages if "event loop blocked" in line]
    assert "block_the_loop" in said
    assert "test_g8_blocked_loop.py" in said


def block_the_loop(seconds: float) -> None:
    # The fault under test.
    time.sleep(seconds)


async def test_g8_while_the_loop_is_blocked_what_is_held_runs_elsewhere(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    blocker, ran = Blocker(), list[tuple[int, int]]()

    async def work(job: Job[None]) -> None:
        ran.append((job.delivery, job.attempt))

    # Nothing here comes back because its lease has run out.
    handlers, lease = {"block": blocker.block, "work": work}, 3600.0
    async with emitting(server.url) as emit:
        await emit_one_to_run_and_one_to_hold(emit, "block", "work")
        with working_thread(server.url, handlers, lease=lease), blocker.unblocked_at_last():
            await aeventually(blocker.blocks.is_set)
            with working_thread(server.url, handlers, lease=lease):
                await aeventually(lambda: ran)

    assert ran == [(2, 1)]
    assert QueueView(redis).stats("fenced") == 0


async def test_g8_a_hand_back_that_did_not_reach_redis_is_repeated(server: RedisServer) -> None:
    blocker, ran = Blocker(), list[tuple[int, int]]()

    async def work(job: Job[None]) -> None:
        ran.append((job.delivery, job.attempt))

    handlers, lease = {"block": blocker.block, "work": work}, 3600.0
    async with emitting(server.url) as emit:
        await emit_one_to_run_and_one_to_hold(emit, "block", "work")
        with (
            FaultProxy(server.port) as proxy,
            working_thread(proxy.url, handlers, lease=lease) as worker,
            blocker.unblocked_at_last(),
        ):
            await aeventually(blocker.blocks.is_set)
            proxy.refuse()
            # With the loop blocked, and no lease to renew yet, nobody else connects.
            renewer = worker._parts.renewer  # type: ignore[union-attr]
            await aeventually(lambda: renewer._returning and proxy.refused)
            assert ran == []
            proxy.pass_all()
            with working_thread(server.url, handlers, lease=lease):
                await aeventually(lambda: ran)

    assert ran == [(2, 1)]


class Blocker:
    """A handler that blocks its worker's loop until it is let go."""

    def __init__(self) -> None:
        self.blocks = threading.Event()
        self._may_end = threading.Event()

    async def block(self, job: Job[None]) -> None:
        self.blocks.set()
        while not self._may_end.is_set():
            block_the_loop(0.01)

    @contextmanager
    def unblocked_at_last(self) -> Iterator[None]:
        """Let it go behind the block, whatever happens there: a blocked worker does not stop."""
        try:
            yield
        finally:
            self._may_end.set()


async def test_g8_what_was_deleted_while_it_was_held_is_handed_back_once(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    queue, blocked, may_end = QueueView(redis), list[bool](), threading.Event()

    async def block(job: Job[None]) -> None:
        blocked.append(True)
        may_end.wait(60.0)

    async def work(job: Job[None]) -> None: ...

    handlers = {"block": block, "work": work}
    async with emitting(server.url) as emit:
        await emit_one_to_run_and_one_to_hold(emit, "block", "work")
        with working_thread(server.url, handlers) as worker:
            try:
                await aeventually(lambda: blocked, within=20.0)
                parts = worker._parts
                assert parts is not None
                [held] = parts.leases.held
                redis.xdel(queue.lane(4), held.entry)
                await aeventually(lambda: held not in parts.leases.held, within=20.0)
                await aeventually(lambda: not parts.renewer._returning, within=20.0)
                assert held.key not in parts.leases
            finally:
                may_end.set()


class Late:
    """Blocks its worker's loop while a job that Redis gives that worker lies in the socket."""

    def __init__(self, redis: redis_py.Redis, ran: list[tuple[str, int]]) -> None:
        self.ran = ran
        # The job, once it is delivered to the blocked worker.
        self.job = ""
        self.may_end = threading.Event()
        self._redis = redis
        self._emit = Queue(redis).emit
        self._view = QueueView(redis)

    @property
    def handlers(self) -> dict[str, Any]:
        return {"block": self.block, "work": self.work}

    async def block(self, job: Job[None]) -> None:
        for number in count(1):
            await asyncio.sleep(0.01)
            # The read that waits may just end: then another job is tried.
            if self._a_read_waits() and self._is_delivered(f"late-{number}"):
                self.job = f"late-{number}"
                break
        while not self.may_end.is_set():
            block_the_loop(0.01)

    async def work(self, job: Job[None]) -> None:
        self.ran.append((job.id, job.delivery))

    def _a_read_waits(self) -> bool:
        return any("b" in client["flags"] for client in self._redis.client_list())

    def _is_delivered(self, job_id: str) -> bool:
        self._emit(new_job(job_id, "work"))
        until = time.monotonic() + 0.1
        while len(self._view.pending()) < 2 and time.monotonic() < until:
            block_the_loop(0.001)
        return len(self._view.pending()) == 2

    def runs(self) -> list[int]:
        """Return the deliveries with which the late job was run."""
        return [delivery for job, delivery in self.ran if job == self.job]


async def test_g8_what_came_while_the_loop_was_blocked_is_not_run_a_second_time(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    late = Late(redis, [])
    options: dict[str, Any] = {"lease": SHORT_LEASE, "concurrency": 2}
    async with emitting(server.url) as emit:
        with working_thread(server.url, late.handlers, **options) as one:
            try:
                await emit("block")
                await aeventually(lambda: late.job)
                with working_thread(server.url, late.handlers, **options):
                    await aeventually(late.runs)
            finally:
                late.may_end.set()
            settled = one.settled
            await emit("work")
            await aeventually(lambda: one.settled == settled + 2)

    assert late.runs() == [2]


async def test_g8_what_came_while_the_loop_was_blocked_is_run_when_nobody_else_has_it(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    late = Late(redis, [])
    options: dict[str, Any] = {"lease": SHORT_LEASE, "concurrency": 2}
    async with emitting(server.url) as emit:
        with working_thread(server.url, late.handlers, **options):
            try:
                await emit("block")
                await aeventually(lambda: late.job)
                # Longer than the lease of what nobody here knows of yet.
                await asyncio.sleep(1.2 * SHORT_LEASE)
            finally:
                late.may_end.set()
            await aeventually(QueueView(redis).is_empty)

    assert late.runs() == [1]
