"""What the thread that renews leases says to a loop that does not hear it."""

from __future__ import annotations

import time

from consumers.connections.connector import Connector
from consumers.jobs.envelope import Envelope
from consumers.jobs.lanes import Lane
from consumers.lease.leases import Leases
from consumers.lease.renewer import Renewer
from consumers.store.delivery import Delivery, Stream
from consumers.store.keys import Keys
from tests.support.waiting import aeventually, eventually

_STREAM = Stream(Keys("default"), Lane("default"), "workers", front=False)


async def test_a_loop_that_is_blocked_for_long_is_told_of_each_lost_delivery_once() -> None:
    leases, lost = Leases(), list[Delivery]()

    def lose(delivery: Delivery) -> None:
        delivery.given_up = True
        lost.append(delivery)

    leases.seconds["default"] = 0.2
    renewer = Renewer(
        leases,
        # Nobody listens there: nothing can be renewed.
        Connector.of("redis://127.0.0.1:1"),
        consumer="worker",
        on_lost=lose,
        on_cancelled=lost.append,
        max_lag=3600.0,
        on_dead_loop=lambda: None,
    )
    delivery = Delivery(
        _STREAM, "1-0", 1, Envelope("a", "e", b"{}", b"", 1, 1, 0, 0, 0, 0), time.monotonic()
    )
    leases.all[delivery.key] = delivery
    renewer.start()
    try:
        # Without an await: the loop stands still for many of the thread's looks.
        eventually(lambda: renewer.worst_lag > 1.0)
        assert lost == []
        await aeventually(lambda: lost)
    finally:
        await renewer.stop()

    assert lost == [delivery]
