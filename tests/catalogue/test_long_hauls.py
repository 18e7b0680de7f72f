"""What takes long to see: what an idle worker asks for, and its return after a minute's outage."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple, cast

import pytest
import redis as redis_py

from consumers.consumer import Consumer
from tests.processes.stage import SLACK, Stage, stop
from tests.support.engine import working
from tests.support.processes import Spawner
from tests.support.proxy import FaultProxy
from tests.support.servers import RedisServer, chosen
from tests.support.waiting import eventually

OUTAGE = 60.0
LOOKS = 4


class Site(NamedTuple):
    """A server, the network before it, and the stage behind that."""

    server: RedisServer
    network: FaultProxy
    stage: Stage


@pytest.fixture
def sites(spawn: Spawner, tmp_path: Path) -> Iterator[list[Site]]:
    """One of each version of Redis that the tests run on."""
    with ExitStack() as ended:
        sites = []
        for binary in chosen():
            server = RedisServer(binary).start()
            ended.callback(server.stop)
            network = ended.enter_context(FaultProxy(server.port))
            folder = tmp_path / binary.id
            folder.mkdir()
            stage = Stage(spawn, server, folder, url=network.url)
            sites.append(Site(server, network, stage))
        yield sites
        for site in sites:
            site.stage.show()


@pytest.mark.timeout(180)
async def test_an_idle_worker_asks_and_wakes_a_few_times_for_each_look_at_its_queues(
    server: RedisServer, redis: redis_py.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What that costs in processor time is measured by the workload ``idle``."""
    async with working(server.url, {"work": print}, concurrency=8) as worker:
        looks = count_looks(worker, monkeypatch)
        # What follows a start is over by then. Waited for in a thread: this loop is watched.
        await asyncio.to_thread(eventually, lambda: len(looks) > 1)
        wakes = count_wakes(monkeypatch)
        redis.config_resetstat()
        looks.clear()
        await asyncio.to_thread(eventually, lambda: len(looks) >= LOOKS)
        stats = cast("dict[str, dict[str, int]]", redis.info("commandstats"))

    commands = sum(it["calls"] for it in stats.values())
    print(f"{len(looks)} looks, {commands} commands, {len(wakes)} wakes")
    assert commands < 40 * len(looks)
    assert len(wakes) < 100 * len(looks)


def count_looks(worker: Consumer, monkeypatch: pytest.MonkeyPatch) -> list[None]:
    """Note each time that a worker reads again which lanes its queues have."""
    follower, looks = worker._parts.fetcher.follower, list[None]()  # type: ignore[union-attr]
    refresh = follower.refresh

    async def counting() -> None:
        looks.append(None)
        await refresh()

    monkeypatch.setattr(follower, "refresh", counting)
    return looks


def count_wakes(monkeypatch: pytest.MonkeyPatch) -> list[None]:
    """Note each time that this event loop goes to sleep."""
    selector = asyncio.get_running_loop()._selector  # type: ignore[attr-defined]
    select, wakes = selector.select, list[None]()

    def counting(timeout: float | None = None) -> Any:
        wakes.append(None)
        return select(timeout)

    monkeypatch.setattr(selector, "select", counting)
    return wakes


@pytest.mark.timeout(400)
def test_a_worker_that_lost_redis_for_a_minute_asked_for_it_steadily_and_goes_on(
    sites: list[Site],
) -> None:
    workers = [site.stage.worker("jobs", "-c", "8") for site in sites]
    # Seen to its end, it shows that nothing of before the outage is lost.
    for site in sites:
        site.stage.emit("nap", {"first": OUTAGE / 2}, id="ends-meanwhile")
        eventually(site.stage.witness.started, SLACK)
        site.network.refuse()
    # The outage itself.
    time.sleep(OUTAGE)
    for site in sites:
        site.stage.emit("nap", id="waits")

    for site in sites:
        site.network.pass_all()

    for site, worker in zip(sites, workers, strict=True):
        witness = site.stage.witness
        eventually(lambda witness=witness: witness.started("waits"), SLACK)  # type: ignore[misc]
        # What ended meanwhile had lost its lease by then, so it is run again.
        site.stage.completed(2)
        stop(worker)
        # A handful of connections, each tried about twice a second in the middle, not in step.
        assert 20 < site.network.refused < 10 * OUTAGE
        assert worker.text.count("WARNING") < 10, worker.text
