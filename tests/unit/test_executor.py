"""The executor without Redis: which deliveries it starts at all."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from consumers.delivery import Delivery, Stream
from consumers.executor import Executor
from consumers.job import Envelope, Job
from consumers.keys import Keys
from consumers.lanes import Lane
from consumers.leases import Leases
from consumers.pauses import Pauses
from consumers.policy import Handler
from processors.processor import Processor

LEASE = 30.0


class Settled:
    """Stands in for the settler: keeps what it is given."""

    wire: Any = None
    archive: Any = None
    consumer = "me"

    def __init__(self) -> None:
        self.outcomes: list[object] = []

    def settle(self, delivery: Delivery, outcome: object, children: object = ()) -> None:
        self.outcomes.append(outcome)


@pytest.mark.parametrize("in_thread", [False, True])
@pytest.mark.parametrize(("age", "runs"), [(0.0, 1), (0.8 * LEASE, 1), (0.95 * LEASE, 0)])
async def test_a_job_whose_lease_ran_out_before_it_began_does_not_run(
    age: float, runs: int, in_thread: bool
) -> None:
    """A process that stood still (SIGSTOP, chaos seeds 302, 305, 309) ran what it had held."""
    ran: list[str] = []
    freed: list[bool] = []

    async def work(job: Job[Any]) -> None:
        ran.append(job.id)

    def blocking(job: Job[Any]) -> None:
        ran.append(job.id)

    handler = Handler.of(blocking if in_thread else work)
    leases, pauses, settled = Leases(), Pauses(), Settled()
    leases.seconds["default"] = LEASE
    pauses.looked(time.monotonic())
    executor = Executor(
        Processor({("default", "e"): handler}),
        settled,  # type: ignore[arg-type]
        leases,
        pauses,
        slots=1,
        log_ttl=60,
        max_leaked=1,
        on_free=lambda: freed.append(True),
        on_broken=lambda _: None,
    )
    keys, lane = Keys("default"), Lane("default")
    stream = Stream(keys, lane, "workers", front=False)
    envelope = Envelope("a", "e", b"{}", b"", 1, 1, 0, 0, 0, 0)
    delivery = Delivery(stream, "1-1", 1, envelope, time.monotonic() - age)
    leases.all[delivery.key] = delivery

    executor.start(delivery)
    await executor.drained()
    await asyncio.sleep(0)

    assert len(ran) == len(settled.outcomes) == runs
    assert freed == [True]
    assert (delivery.key in leases) == bool(runs)
    executor.close()
