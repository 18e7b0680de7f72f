"""Starts that are cancelled, at any moment and by one caller of several."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest

from taskmanager.clients.clients import Clients
from taskmanager.handlers.modules import Modules
from taskmanager.handlers.registry import Registry
from taskmanager.worker.lifecycle import LifeCycle

WITHIN = 20.0
# More turns of the loop than a start takes here.
TURNS = 30


class Rig:
    """What a life cycle is given; each step of a start takes some turns of the loop."""

    def __init__(self) -> None:
        self.frozen = False
        self.open_lifespans = 0
        self.started = 0
        self.running = 0
        self.broken = asyncio.Event()
        self.broken_because: str | None = None
        self.fails: Exception | None = None
        self.life = LifeCycle(
            cast(Registry, self), modules=cast(Modules, self), clients=cast(Clients, self),
            open_lifespan=self._open_lifespan, open_consumer=lambda: self, patience=lambda: WITHIN,
        )  # fmt: skip

    # The registry, the modules and the clients

    def __bool__(self) -> bool:
        return True

    def import_all(self) -> None:
        pass

    def here(self) -> None:
        pass

    async def close(self) -> None:
        pass

    # The lifespan and the consumer

    async def _open_lifespan(self) -> Callable[[], Awaitable[object]]:
        await _turns(3)
        self.open_lifespans += 1

        async def close() -> None:
            self.open_lifespans -= 1

        return close

    async def start(self) -> None:
        await _turns(3)
        if self.fails is not None:
            raise self.fails
        self.started += 1

    async def stop(self, timeout: float | None = None) -> None:
        await _turns(1)
        self.started = 0

    async def until_idle(self) -> None:
        pass


async def _turns(number: int) -> None:
    for _ in range(number):
        await asyncio.sleep(0)


async def _cancelled(rig: Rig, after: int, start: Callable[[], Any]) -> None:
    starting = asyncio.create_task(start())
    await _turns(after)
    starting.cancel()
    done, _ = await asyncio.wait({starting}, timeout=WITHIN)
    assert done, f"it hangs when it is cancelled after {after} turns"
    if starting.cancelled():
        await rig.life.stop()


@pytest.mark.parametrize("turns", range(TURNS))
async def test_a_start_that_is_cancelled_leaves_no_worker_behind(turns: int) -> None:
    rig = Rig()

    await _cancelled(rig, turns, rig.life.start)

    if rig.life.worker is None:
        assert (rig.started, rig.open_lifespans, rig.frozen) == (0, 0, False)
    else:
        assert (rig.started, rig.open_lifespans, rig.frozen) == (1, 1, True)
        await rig.life.stop()


@pytest.mark.parametrize("turns", range(TURNS))
async def test_a_run_that_is_cancelled_leaves_no_worker_behind(turns: int) -> None:
    rig = Rig()

    await _cancelled(rig, turns, lambda: rig.life.run(burst=False, on_start=None))

    assert (rig.started, rig.open_lifespans, rig.life.worker) == (0, 0, None)


@pytest.mark.parametrize("turns", range(TURNS))
async def test_who_waits_for_the_same_start_is_not_cancelled_with_another(turns: int) -> None:
    rig = Rig()
    patient = asyncio.create_task(rig.life.start())

    other = asyncio.create_task(rig.life.start())
    await _turns(turns)
    other.cancel()
    await asyncio.wait({patient, other}, timeout=WITHIN)

    assert not patient.cancelled()
    assert patient.exception() is None
    assert rig.started == 1
    await rig.life.stop()
    assert (rig.started, rig.open_lifespans) == (0, 0)


async def test_a_start_whose_callers_are_all_cancelled_is_taken_back() -> None:
    rig = Rig()
    starts = [asyncio.create_task(rig.life.start()) for _ in range(3)]
    await _turns(4)

    for start in starts:
        start.cancel()
    await asyncio.wait(starts, timeout=WITHIN)

    assert all(start.cancelled() for start in starts)
    assert (rig.started, rig.open_lifespans, rig.life.worker) == (0, 0, None)


async def test_a_start_that_failed_may_be_repeated() -> None:
    rig = Rig()
    rig.fails = ValueError("no")
    failed = await asyncio.gather(rig.life.start(), rig.life.start(), return_exceptions=True)
    rig.fails = None

    await rig.life.start()

    assert [type(error) for error in failed] == [ValueError, ValueError]
    assert rig.started == 1
    await rig.life.stop()
