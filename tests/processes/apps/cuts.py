"""Processes that end at a named point: ``cuts.py URL WORK QUEUE=POINT ...``.

Each queue gets a process of its own, forked from this one. WORK is ``work`` (a
worker; it stops once a job of ``linger`` runs), ``replay`` (of the dead letter
``job``) or ``relay``. Prints a line ``ended QUEUE CODE`` for each when it has.
"""

from __future__ import annotations

import asyncio
import os
import sys
from typing import NoReturn

from consumers import Consumer, Handler, Job, NewJob
from consumers.admin.dead_letters import DeadLetters
from consumers.connections.connector import Connector
from consumers.connections.wire import Wire
from consumers.cuts import arm
from consumers.jobs.lanes import Lane
from consumers.store.keys import Keys
from consumers.upkeep.relay import Relay
from processors import Discard, Processor, Snooze

LEASE = 1.0
SNOOZED_S = 0.05


async def parent(job: Job[None]) -> None:
    """Complete with children in this queue and in another; no worker here reads their lanes."""
    for queue in (job.queue, f"{job.queue}.other"):
        for number in range(3):
            lane = Lane(queue, "nobody")
            job.on_success.append(NewJob(f"child-{number}", "child", b"null", lane))


async def fail(job: Job[None]) -> None:
    raise ValueError(f"attempt {job.attempt}")


async def discard(job: Job[None]) -> None:
    raise Discard("no use")


async def snooze(job: Job[None]) -> str:
    """Put the first run off; the next one, be it after that or after a crash, completes."""
    if job.delivery == 1:
        raise Snooze(SNOOZED_S)
    return "awake"


async def snooze_at_once(job: Job[None]) -> str:
    if job.delivery == 1:
        raise Snooze(0)
    return "awake"


async def linger(job: Job[None]) -> str:
    """Run, the first time, until the worker is stopped."""
    if job.delivery == 1:
        _lingers.set()
        await asyncio.Event().wait()
    return "done elsewhere"


async def late(job: Job[None]) -> str:
    return "handled at last"


# Set when a job of linger runs.
_lingers = asyncio.Event()
_HANDLERS = {
    "parent": parent,
    "fail": fail,
    "discard": discard,
    "snooze": snooze,
    "snooze-at-once": snooze_at_once,
    "linger": linger,
}


def worker(url: str, *queues: str, newer: bool = False) -> Consumer:
    """Return a worker of every event in some queues; only a newer one handles ``late``."""
    handlers = {**_HANDLERS, "late": late} if newer else _HANDLERS
    known = {
        (queue, event): Handler.of(call) for queue in queues for event, call in handlers.items()
    }
    return Consumer(url, policy=Processor(known), queues=queues, lease=LEASE)


async def work(url: str, queue: str) -> None:
    consumer = worker(url, queue)
    await consumer.start()
    await _lingers.wait()
    await consumer.stop(timeout=0)


async def replay(url: str, queue: str) -> None:
    wire = Wire(Connector.of(url), name="replays")
    # Connected, so that what is in flight at the end has really left.
    await wire.send("PING")
    await DeadLetters(wire, Keys(queue), where=url).replay(["job"], patience=5.0)
    await wire.close()


async def relay(url: str, queue: str) -> None:
    await Relay(Wire(Connector.of(url), name="relays"), Keys(queue), batch=2).run()


def main(url: str, what: str, *cuts: str) -> None:
    """Fork, wait for all, and tell how each ended."""
    pids = {}
    for queue, _, point in (cut.partition("=") for cut in cuts):
        pid = os.fork()
        if pid == 0:
            _be_cut(url, what, queue, point)
        pids[pid] = queue
    while pids:
        pid, status = os.wait()
        print("ended", pids.pop(pid), os.waitstatus_to_exitcode(status), flush=True)


def _be_cut(url: str, what: str, queue: str, point: str) -> NoReturn:
    arm(point)
    try:
        asyncio.run({"work": work, "replay": replay, "relay": relay}[what](url, queue))
    finally:
        os._exit(1)


if __name__ == "__main__":
    main(*sys.argv[1:])
