"""What every service of a worker has in common: it starts, is woken and ends, wherever that is."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import redis as redis_py

from consumers.connections.connector import Connector
from consumers.connections.hints import Hints
from consumers.connections.wire import Wire
from consumers.jobs.bounds import DeadLetterBounds
from consumers.jobs.lanes import Lane
from consumers.jobs.outcome import Completed
from consumers.jobs.routes import Profile
from consumers.lease.leases import Leases
from consumers.settle.settler import Settler
from consumers.store.keys import Fleet, Keys
from consumers.store.queue_workers import WorkerState
from consumers.store.settling import Settlement
from consumers.upkeep.auditor import Auditor
from consumers.upkeep.heartbeat import Heartbeat
from consumers.upkeep.janitor import Janitor
from consumers.upkeep.promoter import Promoter
from consumers.upkeep.relay import Relay
from consumers.upkeep.service import Rounds, Service, Steps
from processors.schedules.cron import CronSpec
from processors.schedules.schedule import Schedule
from processors.schedules.scheduler import Scheduler
from tests.support.queue import Queue, new_job
from tests.support.servers import RedisServer
from tests.support.waiting import PATIENCE

FLEET = Fleet("tm")
KEYS = Keys("default")


class CutWire(Wire):
    """Does something at one of the commands that are sent, and counts them."""

    def __init__(self, connector: Connector) -> None:
        super().__init__(connector, name="services")
        self.sent = 0
        self.at: dict[int, Callable[[], object]] = {}

    def send(self, *args: Any, **more: Any) -> Any:
        self.sent += 1
        self.at.get(self.sent, lambda: None)()
        return super().send(*args, **more)


def janitor(wire: Wire) -> Janitor:
    leases = Leases()
    leases.seconds[KEYS.queue] = 30.0
    settler = Settler(
        wire, leases, where="here", consumer="me", result_ttl=0.0,
        on_settled=lambda settled: None, bounds=DeadLetterBounds(),
    )  # fmt: skip
    return Janitor(
        wire, settler, leases, fleet=FLEET, queues=[KEYS],
        default_lanes=lambda keys: Lane(keys.queue), consumer="me", no_handler_deadline=3600.0,
    )  # fmt: skip


def heartbeat(wire: Wire) -> Heartbeat:
    state = WorkerState(Profile("w"), 1, 0, frozenset({"e"}), 1)
    return Heartbeat(
        wire, FLEET, worker_id="w.0", queues=[KEYS], facts=[], state=lambda queue: state
    )


def scheduler(wire: Wire) -> Scheduler:
    return Scheduler(wire, KEYS, [Schedule("tick", CronSpec("* * * * * *"), "e", Lane("default"))])


SERVICES: dict[str, Callable[[Wire], Service]] = {
    "promoter": lambda wire: Promoter(wire, KEYS),
    "relay": lambda wire: Relay(wire, KEYS),
    "auditor": lambda wire: Auditor(wire, [KEYS]),
    "janitor": janitor,
    "heartbeat": heartbeat,
    "scheduler": scheduler,
}
every_service = pytest.mark.parametrize("service", SERVICES)


@pytest.fixture
async def wire(server: RedisServer) -> AsyncIterator[CutWire]:
    wire = CutWire(Connector.of(server.url))
    await wire.send("PING")
    yield wire
    await wire.close()


def give_work(queue: Queue) -> None:
    """Put a job off that is due at once, and post one for another queue."""
    name = secrets.token_hex(4)
    queue.emit(new_job(f"put-off-{name}", due="+1"), new_job(f"parent-{name}"))
    child = new_job(f"child-{name}", queue="other")
    parent = next(it for it in queue.deliver() if it.envelope.id == f"parent-{name}")
    assert queue.settle(Settlement(parent, Completed(), [child])) == ["1"]


def taking_note(service: Service) -> asyncio.Event:
    """Return an event that is set once a turn is over."""
    turn, over = service._turn, asyncio.Event()

    async def noted() -> float:
        try:
            return await turn()
        finally:
            over.set()

    service._turn = noted  # type: ignore[method-assign]
    return over


def test_every_service_is_here() -> None:
    wire = CutWire(Connector.of("redis://localhost"))

    assert {type(make(wire)) for make in SERVICES.values()} == {
        it for kind in (Steps, Rounds) for it in kind.__subclasses__()
    }


@pytest.mark.parametrize("on_its_way", [False, True])
@every_service
async def test_a_service_that_is_cancelled_anywhere_ends_and_leaves_no_task(
    wire: CutWire, redis: redis_py.Redis, service: str, on_its_way: bool
) -> None:
    others, queue = asyncio.all_tasks(), Queue(redis)
    cut, cut_off = 0, True
    while cut_off:
        cut += 1
        give_work(queue)
        cut_off = await _is_cut_off(SERVICES[service](wire), wire, cut, on_its_way)
        assert asyncio.all_tasks() == others

    # It sent something at all.
    assert cut > 1


async def _is_cut_off(service: Service, wire: CutWire, cut: int, on_its_way: bool) -> bool:
    """Cancel a service at a command of its first turn, else in its sleep; return whether there."""
    over = taking_note(service)
    service.wake()
    running = asyncio.create_task(service.run())
    is_cut = False

    def cancel() -> None:
        nonlocal is_cut
        is_cut = True
        if on_its_way:
            asyncio.get_running_loop().call_soon(running.cancel)
        else:
            running.cancel()

    wire.at = {wire.sent + cut: cancel}
    async with asyncio.timeout(PATIENCE):
        await over.wait()
    running.cancel()
    await asyncio.wait({running}, timeout=PATIENCE)
    assert running.cancelled()
    return is_cut


@every_service
async def test_an_error_in_a_turn_is_said_once_and_another_turn_comes(
    wire: CutWire, service: str, caplog: pytest.LogCaptureFixture
) -> None:
    it = SERVICES[service](wire)
    wire.at = {wire.sent + 1: _failing(ValueError("odd"))}
    with caplog.at_level(logging.WARNING):
        over = taking_note(it)
        it.wake()
        running = asyncio.create_task(it.run())
        for _ in range(2):
            await asyncio.wait_for(over.wait(), PATIENCE)
            over.clear()
            it.wake()
        running.cancel()
        await asyncio.wait({running})

    said = [it for it in caplog.records if it.exc_info is not None]
    name = "taskmanager.schedules" if service == "scheduler" else "taskmanager.worker"
    assert [record.name for record in said] == [name]
    assert "failed" in said[0].getMessage()


def _failing(error: Exception) -> Callable[[], object]:
    def fail() -> None:
        raise error

    return fail


@pytest.mark.parametrize("turns", range(12))
async def test_the_listener_to_hints_that_is_cancelled_anywhere_ends_and_leaves_no_task(
    server: RedisServer, turns: int
) -> None:
    others = asyncio.all_tasks()
    hints = Hints(
        Connector.of(server.url), {KEYS.control: KEYS.queue},
        on_hint=lambda queue, hint: None, on_reconnect=lambda: None,
    )  # fmt: skip
    running = asyncio.create_task(hints.run())
    for _ in range(turns):
        await asyncio.sleep(0)
    if turns == 11:
        await asyncio.wait_for(hints.subscribed.wait(), PATIENCE)

    running.cancel()
    await asyncio.wait({running}, timeout=PATIENCE)

    assert running.cancelled()
    assert asyncio.all_tasks() == others
