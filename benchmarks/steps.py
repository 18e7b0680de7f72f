"""Bring jobs through Redis step by step: the project's own way, and a plain loop on a stream.

There is no worker here: each step is sent as the bytes that a producer or a worker sends, so
that what Redis spends on one step can be told from what it spends on the others.
"""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import hiredis

from benchmarks.failures import Failed
from consumers.connections.link import Argument, pack
from consumers.jobs.envelope import NewJob
from consumers.jobs.ids import default_id
from consumers.jobs.lanes import DEFAULT_PARTITION, DEFAULT_TYPE, Lane
from consumers.jobs.outcome import Completed
from consumers.store import emitting, settling
from consumers.store.delivery import Stream, delivery_of
from consumers.store.door import numbered, seal
from consumers.store.keys import Keys
from consumers.store.scripts import Call
from consumers.store.settling import Settlement

# As many jobs as the project sends at most in one request.
EMIT = 500
READ = SETTLE = 256
# Per round of a walk: so that there are single emits beside those that leave together.
_READS = 3
JOBS_OF_A_ROUND = _READS * READ

_QUEUE, _EVENT = "default", "noop"
_GROUP = DEFAULT_TYPE
_CONSUMER = "bench.1f"
_RESULT_TTL_MS = 3_600_000
_RUN_MS = 5
# The bytes of a result of ours: null, and what is kept about the run.
_RESULT = b"x" * 60
_SECONDS = 60.0
_CHUNK = 1 << 20


class Pipe:
    """A connection that sends several commands in one piece and reads their replies."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=_SECONDS)
        self._reader = hiredis.Reader()

    def ask(self, *commands: Sequence[Argument]) -> list[Any]:
        """Return the replies of commands that are sent together; Failed where one is an error."""
        self.send(*commands)
        return [self.reply() for _ in commands]

    def send(self, *commands: Sequence[Argument]) -> None:
        """Send commands whose replies are read later."""
        self._socket.sendall(b"".join(map(pack, commands)))

    def reply(self) -> Any:
        """Return the next reply; Failed where it is an error."""
        while (reply := self._reader.gets()) is False:
            self._reader.feed(self._socket.recv(_CHUNK))
        _expect(not isinstance(reply, hiredis.ReplyError), f"Redis has answered {reply}")
        return reply

    def close(self) -> None:
        self._socket.close()


class Steps(Protocol):
    """What a job goes through; each call is one request of a producer or a worker."""

    def emit(self, number: int) -> None:
        """Add the next jobs."""

    def read(self, number: int) -> None:
        """Read that many jobs that wait."""

    def settle(self, number: int) -> None:
        """Record the end of that many jobs that were read, the first of them first."""


class OurSteps:
    """The requests of this project's producers and workers."""

    def __init__(self, pipe: Pipe) -> None:
        self._pipe, self._keys = pipe, Keys(_QUEUE)
        self._lane = Lane(_QUEUE, DEFAULT_TYPE, DEFAULT_PARTITION)
        self._stream = Stream(self._keys, self._lane, _GROUP, front=False)
        self._batches = self._emitted = 0
        self._held: list[Settlement] = []
        pipe.ask(
            ("XGROUP", "CREATE", self._stream.key, _GROUP, "0", "MKSTREAM"),
            *(("SCRIPT", "LOAD", it.source) for it in (emitting.EMIT, settling.SETTLE)),
        )

    def emit(self, number: int) -> None:
        jobs = [self._job(n) for n in range(self._emitted, self._emitted + number)]
        self._emitted += number
        words = self._run(emitting.emit_items(self._keys, jobs, depth=None), "producer")
        _expect(all(word.startswith(b"+") for word in words), f"an emit was answered {words[:3]}")

    def read(self, number: int) -> None:
        asked = time.monotonic()
        for entry, fields in _read(self._pipe, self._stream.key, number):
            delivery = delivery_of(self._stream, entry.decode(), 1, fields, asked)
            delivery.started_ms = delivery.envelope.created_at + _RUN_MS
            self._held.append(Settlement(delivery, Completed()))

    def settle(self, number: int) -> None:
        some, self._held = self._held[:number], self._held[number:]
        words = self._run(
            settling.settle_items(self._keys, _CONSUMER, _RESULT_TTL_MS, some), "worker"
        )
        _expect(words == [b"1"] * number, f"a settle was answered {words[:3]}")

    def _job(self, number: int) -> NewJob:
        data = _data(number)
        return NewJob(default_id(_EVENT, DEFAULT_PARTITION, data), _EVENT, data, self._lane)

    def _run(self, batch: Call, writer: str) -> list[bytes]:
        """Send a batch through the writer's door and return the words of its answer."""
        sealed = seal(batch)
        self._batches += 1
        step = numbered(sealed.batch, self._keys, writer, self._batches, sealed.digest)
        whole = Call(step.script, step.keys, [*step.args, *batch.args])
        [answer] = self._pipe.ask(whole.by_sha)
        words: list[bytes] = answer.split()
        return words


class PlainSteps:
    """The least that a queue on a stream asks for: no ids, no counters, no script."""

    def __init__(self, pipe: Pipe) -> None:
        self._pipe, self._stream, self._emitted = pipe, "plain", 0
        self._held: list[bytes] = []
        pipe.ask(("XGROUP", "CREATE", self._stream, _GROUP, "0", "MKSTREAM"))

    def emit(self, number: int) -> None:
        numbers = range(self._emitted, self._emitted + number)
        self._emitted += number
        self._pipe.ask(*(("XADD", self._stream, "*", "data", _data(n)) for n in numbers))

    def read(self, number: int) -> None:
        self._held += [entry for entry, _ in _read(self._pipe, self._stream, number)]

    def settle(self, number: int) -> None:
        some, self._held = self._held[:number], self._held[number:]
        replies = self._pipe.ask(
            ("XACK", self._stream, _GROUP, *some),
            ("XDEL", self._stream, *some),
            *(("SET", b"result:%b" % it, _RESULT, "PX", _RESULT_TTL_MS) for it in some),
        )
        _expect(replies[:2] == [number, number], f"a settle was answered {replies[:2]}")

    def remove(self) -> None:
        """Remove the stream; the results expire."""
        self._pipe.ask(("DEL", self._stream))


class Part(NamedTuple):
    """A step that is measured by itself: of which calls, and how many jobs each of them has."""

    name: str
    jobs: int
    calls: int
    call: Callable[[Steps, int], None]

    def do(self, steps: Steps) -> None:
        """Make all calls."""
        for _ in range(self.calls):
            self.call(steps, self.jobs)

    @property
    def all_jobs(self) -> int:
        return self.jobs * self.calls


def parts(rounds: int) -> list[Part]:
    """Return the parts of a walk of so many rounds, in their order.

    All reads and all settles but the last ones are of whole batches. At the end nothing waits.
    """
    singles = JOBS_OF_A_ROUND - EMIT
    return [
        Part("emit", EMIT, rounds, lambda steps, jobs: steps.emit(jobs)),
        Part("single_emit", 1, rounds * singles, lambda steps, jobs: steps.emit(jobs)),
        Part("read", READ, _READS * rounds, lambda steps, jobs: steps.read(jobs)),
        Part("settle", SETTLE, _READS * rounds - 1, lambda steps, jobs: steps.settle(jobs)),
        Part("single_settle", 1, SETTLE, lambda steps, jobs: steps.settle(jobs)),
    ]


@contextlib.contextmanager
def both_sides(port: int) -> Iterator[dict[str, Steps]]:
    """Return ours and the plain loop by the prefix of their figures; each has run once."""
    with contextlib.closing(Pipe(port)) as pipe:
        plain = PlainSteps(pipe)
        sides: dict[str, Steps] = {"": OurSteps(pipe), "plain_": plain}
        for steps in sides.values():
            for part in parts(1):
                part.do(steps)
        yield sides
        plain.remove()


def _data(number: int) -> bytes:
    return b'{"i":%d}' % number


def _read(pipe: Pipe, stream: str, number: int) -> list[tuple[bytes, list[bytes]]]:
    [reply] = pipe.ask(
        ("XREADGROUP", "GROUP", _GROUP, _CONSUMER, "COUNT", number, "STREAMS", stream, ">")
    )
    entries: list[tuple[bytes, list[bytes]]] = reply[0][1] if reply else []
    _expect(len(entries) == number, f"a read of {number} jobs brought {len(entries)}")
    return entries


def _expect(holds: bool, otherwise: str) -> None:
    if not holds:
        raise Failed(otherwise)
