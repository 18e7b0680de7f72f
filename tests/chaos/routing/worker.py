"""One worker of a run: ``python -m tests.chaos.routing.worker <folder> <name> <url> <lease>``.

What it can do stands in a file, which it reads again and again; without it, what its name says.
Behind the lease may stand the name of a mutant.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from consumers.consumer import Consumer
from consumers.fetch.levels import Levels
from consumers.jobs import routes
from consumers.jobs.job import Job
from consumers.jobs.outcome import Completed
from consumers.policy import Handler
from consumers.store.settling import Settled
from processors.processor import Processor, Registration
from processors.retries.retry import RetryPolicy
from tests.chaos.routing.world import EVENTS, QUEUES, job_of, workers
from tests.support.oracle import Recorder

_LOOK = 0.03
_GRACE = 0.5
_DAY = 86_400.0
# A job may meet any number of workers that are killed.
_DELIVERIES = 1000


# Each takes a guarantee away, which the verdict must see: what is replaced always says yes.
MUTANTS: Mapping[str, tuple[object, str]] = {
    "reads-all": (routes, "matches"),
    "never-looks-again": (Levels, "may_run"),
}


def become(mutant: str) -> None:
    """Make this process a mutant. Fails where the engine has not got what it replaces."""
    whose, name = MUTANTS[mutant]
    assert callable(getattr(whose, name))
    setattr(whose, name, lambda *_: True)


class Working:
    """The worker, and the handler of all its jobs, which writes down where each begins."""

    def __init__(self, folder: Path, name: str, url: str, lease: float) -> None:
        self._file = folder / f"{name}.can"
        self._recorder = Recorder(folder / "records", name)
        me = workers()[name]
        self._base = me.capabilities
        retry = RetryPolicy(max_retries=3, retry_delay_ms=100)
        handler = Registration(Handler.of(self.run), retry=retry)
        self.consumer = Consumer(
            url,
            policy=Processor({(queue, event): handler for queue in QUEUES for event in EVENTS}),
            queues=QUEUES,
            name=name,
            type=me.type,
            capabilities=self._can(),
            levels=me.levels,
            region=me.region,
            concurrency=4,
            lease=lease,
            result_ttl=_DAY,
            shutdown_timeout=_GRACE,
            connect_timeout=120.0,
            max_deliveries=_DELIVERIES,
            telemetry=self,
        )

    async def run(self, job: Job[Any]) -> dict[str, Any]:
        """Run a job of any kind."""
        data, can = job.data, sorted(self.consumer.terms.profile.capabilities)
        self._note("start", job, detail=json.dumps(data["need"]), on=json.dumps(can))
        if data["kind"] == "nap":
            await asyncio.sleep(0.3)
        if data["kind"] == "flaky" and job.attempt == 1:
            raise ValueError("once")
        if child := data.get("child"):
            job.on_success.append(job_of(child.pop("id"), child.pop("queue"), **child))
        return {"who": self._recorder.who, "delivery": job.delivery}

    def settled_many(self, settled: Sequence[Settled]) -> None:
        """Note what was completed, as the engine was told by Redis, and what came too late."""
        for settlement, recorded in settled:
            envelope = settlement.delivery.envelope
            is_end = isinstance(settlement.outcome, Completed)
            if is_end or not recorded:
                self._recorder.note(
                    "completed" if recorded else "fenced",
                    job=envelope.id, queue=settlement.delivery.stream.lane.queue,
                    generation=envelope.generation,
                )  # fmt: skip

    async def follow(self) -> None:
        """Become able to do what the file says, whenever it says something else."""
        while True:
            await asyncio.sleep(_LOOK)
            if (can := self._can()) != self.consumer.terms.profile.capabilities:
                self.consumer.set_capabilities(can)

    def _can(self) -> frozenset[str]:
        try:
            return frozenset(json.loads(self._file.read_text()))
        except FileNotFoundError:
            return frozenset(self._base)

    def _note(self, what: str, job: Job[Any], **more: Any) -> None:
        self._recorder.note(
            what, job=job.id, queue=job.queue, event=job.event, generation=job.generation,
            delivery=job.delivery, attempt=job.attempt, priority=job.priority, **more,
        )  # fmt: skip


async def main(working: Working) -> None:
    """Work until SIGTERM."""
    told = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, told.set)
    starting = asyncio.create_task(working.consumer.start())
    ended = asyncio.create_task(told.wait())
    await asyncio.wait({starting, ended}, return_when=asyncio.FIRST_COMPLETED)
    if starting.done():
        await starting
        print("started", flush=True)
    following = asyncio.create_task(working.follow())
    await ended
    following.cancel()
    starting.cancel()
    await asyncio.wait({starting, following})
    await working.consumer.stop()


if __name__ == "__main__":
    folder_, name_, url_, lease_, *mutants = sys.argv[1:]
    for mutant in mutants:
        become(mutant)
    asyncio.run(main(Working(Path(folder_), name_, url_, float(lease_))))
