"""What takes long to see: what an idle worker uses, and its return after a minute's outage.

Both take all servers at once, so that the time is spent once.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.processes.stage import SLACK, Stage, stop
from tests.support.processes import Spawner
from tests.support.proxy import FaultProxy
from tests.support.servers import RedisServer, chosen
from tests.support.waiting import eventually

OUTAGE = 60.0
IDLE = 30.0


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


@pytest.mark.timeout(120)
def test_an_idle_worker_uses_less_than_a_hundredth_of_a_processor(sites: list[Site]) -> None:
    workers = [site.stage.worker("jobs", "-c", "8") for site in sites]
    for site in sites:
        site.stage.emit("nap", id="the-only-one")
        site.stage.completed(1)

    before = [cpu_seconds(worker.pid) for worker in workers]
    # What is measured is a time without work.
    time.sleep(IDLE)
    used = [cpu_seconds(it.pid) - then for it, then in zip(workers, before, strict=True)]

    assert max(used) < IDLE / 100, used


@pytest.mark.timeout(180)
def test_a_worker_that_lost_redis_for_a_minute_is_back_within_two_seconds(
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

    returned = {}
    for site in sites:
        site.network.pass_all()
        returned[site] = time.monotonic()

    for site, worker in zip(sites, workers, strict=True):
        witness = site.stage.witness
        (run,) = eventually(lambda witness=witness: witness.started("waits"), SLACK)  # type: ignore[misc]
        assert run.monotonic - returned[site] < 2.0
        # What ended meanwhile had lost its lease by then, so it is run again.
        site.stage.completed(2)
        stop(worker)
        # A handful of connections, each tried about twice a second in the middle, not in step.
        assert 20 < site.network.refused < 10 * OUTAGE
        assert worker.text.count("WARNING") < 10, worker.text


def cpu_seconds(pid: int) -> float:
    """The processor time that a process has used, all its threads together."""
    # Behind the name, which may hold anything.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
