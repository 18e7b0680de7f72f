"""Storms of emits from several processes, and pauses over several workers under load."""

from __future__ import annotations

import asyncio
import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from taskmanager import TaskManager
from tests.processes.stage import LEASE, SLACK, Stage
from tests.support.servers import RedisServer
from tests.support.waiting import eventually

pytestmark = pytest.mark.timeout(300)

PROCESSES = 4
EMITS = 1000
_PART = re.compile(r'\{"by":"(\d)","n":(\d+)\}')


@contextmanager
def watched(server: RedisServer) -> Iterator[list[tuple[str, int]]]:
    """Note who emitted what, in the order in which the server executed it."""
    order: list[tuple[str, int]] = []

    def listen() -> None:
        with server.client(decode_responses=True) as client, client.monitor() as monitor:
            started.set()
            for command in monitor.listen():
                if command["client_type"] == "lua":
                    # What a script does with what it was given.
                    continue
                order.extend((by, int(n)) for by, n in _PART.findall(command["command"]))
                if command["command"].startswith("PING the end"):
                    return

    started = threading.Event()
    thread = threading.Thread(target=listen)
    thread.start()
    started.wait(SLACK)
    try:
        yield order
    finally:
        with server.client() as client:
            client.execute_command("PING", "the end")
        thread.join()


def test_a_thousand_debounced_emits_of_four_processes_are_one_run_with_the_last_data(
    stage: Stage, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    producers = [
        stage.script("storms.py", str(n), str(EMITS // PROCESSES), str(gate))
        for n in range(PROCESSES)
    ]
    for producer in producers:
        producer.wait_for_line("ready")
    with watched(stage.server) as order:
        gate.touch()
        for producer in producers:
            assert producer.wait() == 0, producer.text
    assert len(order) == EMITS
    stage.worker("debounced", lease=LEASE)
    stage.completed(1)

    (run,) = stage.witness.finished()
    with stage.server.client() as client:
        result = json.loads(client.get(stage.keys.result(run.job)).split(b" ", 2)[2])
    assert (result["by"], result["n"]) == order[-1]
    assert stage.stat("debounced") == EMITS - 1
    assert stage.waiting() == 0


@pytest.mark.parametrize("event", ["nap", "nap-in-thread"])
def test_nothing_starts_after_a_pause_was_confirmed_by_four_workers_under_load(
    stage: Stage, event: str
) -> None:
    for _ in range(4):
        stage.worker("jobs", "-c", "10", lease=LEASE)
    emitted = asyncio.run(_pause_again_and_again(stage, event))

    stage.completed(emitted, within=60.0)


async def _pause_again_and_again(stage: Stage, event: str, rounds: int = 6) -> int:
    emitted = 0
    enough = asyncio.Event()

    async def load(tm: TaskManager[Any]) -> None:
        nonlocal emitted
        # Not cancelled: an emit that is may have arrived all the same.
        while not enough.is_set():
            await tm.emit_many(
                {"event": event, "data": {"seconds": 0.01}, "id": f"job-{emitted + n}"}
                for n in range(20)
            )
            emitted += 20
            await asyncio.sleep(0.02)

    async with TaskManager(stage.server.url) as tm:
        loading = asyncio.create_task(load(tm))
        for _ in range(rounds):
            before = len(stage.witness.started())
            await asyncio.to_thread(_more_than, stage, before + 50)
            await tm.pause(wait=True)
            confirmed = time.monotonic()
            seen = emitted
            # The load goes on, and whoever had jobs in hand has put them back.
            while emitted < seen + 200 or (await tm.stats()).active:
                await asyncio.sleep(0.01)
            late = [it for it in stage.witness.started() if it.monotonic > confirmed]
            assert late == []
            assert (await tm.stats()).waiting >= 200
            await tm.resume()
        enough.set()
        await loading
    return emitted


def _more_than(stage: Stage, count: int) -> None:
    eventually(lambda: len(stage.witness.started()) > count, SLACK)
