"""What it costs Redis that a worker names many lanes in a read, as one of many routes does."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from benchmarks.figures import Figures
from benchmarks.meter import Reading
from benchmarks.roster import Contender
from benchmarks.routing.fleet import EVENT, QUEUE
from benchmarks.setting import Setting
from benchmarks.steps import Pipe
from consumers.jobs.lanes import DEFAULT_TYPE, Lane
from consumers.jobs.routes import Route
from consumers.store.keys import Keys

_LANES = (1, 32, 256)
_READS, _QUICK_READS = 10_000, 1_000
# A machine that changes its pace within a measurement meets all numbers of lanes.
_SLICES = 10
_CONSUMER = "bench.1f"
_BLOCK_MS = 60_000


class Worker:
    """A worker's reads of some streams, and the producer whose jobs end them."""

    def __init__(self, port: int, streams: Sequence[str]) -> None:
        self.reader, self.producer, self.streams = Pipe(port), Pipe(port), streams
        self.producer.ask(
            *(("XGROUP", "CREATE", it, DEFAULT_TYPE, "0", "MKSTREAM") for it in streams)
        )

    def read_nothing(self) -> None:
        """Read all streams, which are empty."""
        self.reader.ask(self._read())

    def wait_for_a_job(self) -> None:
        """Block on all streams until one of them has a job, and take that."""
        self.reader.send(self._read("BLOCK", _BLOCK_MS))
        self.producer.ask(("XADD", self.streams[-1], "*", "data", "1"))
        [[stream, [[entry, _]]]] = self.reader.reply()
        self.reader.ask(("XACK", stream, DEFAULT_TYPE, entry), ("XDEL", stream, entry))

    def _read(self, *block: str | int) -> tuple[str | int, ...]:
        head = ("XREADGROUP", "GROUP", DEFAULT_TYPE, _CONSUMER, "COUNT", 1, *block, "STREAMS")
        return (*head, *self.streams, *[">"] * len(self.streams))

    def close(self) -> None:
        """Disconnect."""
        self.reader.close()
        self.producer.close()


def of_many_lanes(setting: Setting, _: Contender) -> Figures:
    """Return Redis' microseconds per read of 1, 32 and 256 lanes with their fronts.

    An empty read finds nothing; a blocked one waits for a job, whose own cost is part of it.
    """
    setting.clean()
    reads = max(setting.sizes.scaled(_READS, quick=_QUICK_READS) // _SLICES, 1)
    spent = defaultdict[str, float](float)
    with _workers(setting.server.port) as workers, setting.server.client() as client:
        for _slice in range(_SLICES):
            for lanes, it in workers.items():
                for name, read in (("empty", it.read_nothing), ("blocked", it.wait_for_a_job)):
                    before = Reading.now(client)
                    for _number in range(reads):
                        read()
                    cost = Reading.now(client).redis_cpu_s - before.redis_cpu_s
                    spent[f"{name}_{lanes}_us_per_read"] += cost * 1e6 / reads / _SLICES
    return dict(spent)


@contextlib.contextmanager
def _workers(port: int) -> Iterator[Mapping[int, Worker]]:
    """Return a worker for each number of lanes; each has read and waited once."""
    with contextlib.ExitStack() as undo:
        workers = {}
        for lanes in _LANES:
            worker = undo.enter_context(contextlib.closing(Worker(port, _streams(lanes))))
            worker.read_nothing()
            worker.wait_for_a_job()
            workers[lanes] = worker
        yield workers


def _streams(lanes: int) -> list[str]:
    """Return the streams of so many routes, no two numbers have any in common."""
    keys = Keys(QUEUE)
    routes = [Route(DEFAULT_TYPE, EVENT, requires=(f"of-{lanes}", f"r{it}")) for it in range(lanes)]
    both = [(keys.front(lane), keys.lane(lane)) for lane in (Lane(QUEUE, it.name) for it in routes)]
    return [front for front, _ in both] + [lane for _, lane in both]
