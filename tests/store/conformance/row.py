"""A row of the table: how a script is called, what it answers, and which keys it writes."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import redis as redis_py

from consumers.store.keys import Keys
from consumers.store.scripts import Call
from tests.support.queue import Queue, Snapshot, foreign_value

WRITER = "w"
DOOR = f"prod:{WRITER}"
USUAL: Final = object()
# Times, ids that are made of times, and digests of what has such ids in it.
_CHANGING = re.compile(rb"[0-9a-f]{32}|\d{10,}(-\d+)?")
_A_TIME = 1e9


@dataclass(frozen=True, slots=True)
class Reply:
    """What becomes of a call in a queue that is not as usual.

    It answers, or raises an error, and writes the keys that are named (None: those that
    the row names). Where the answer is a text, {key} is the foreign key's.
    """

    answer: Any = USUAL
    error: str = ""
    writes: str | None = None
    # Whether what somebody else put there goes.
    replaces: bool = False


AS_USUAL = Reply()
REPLACED = Reply(replaces=True)
REFUSED = Reply(error="WRONGTYPE|wrong kind", writes="")
OUT_OF_MEMORY = Reply(error="OOM|maxmemory|command not allowed", writes="")


def nothing(answer: Any) -> Reply:
    """Return the reply of a script that answers and writes nothing but what a batch may."""
    return Reply(answer, writes="")


@dataclass(frozen=True, slots=True)
class Row:
    """A script, called in a queue in which it has something to do.

    call sets the queue up and returns the call; of a batch still without its number.
    writes are the keys that change, as key_named() names them. foreign says for each key
    that it touches what becomes of the call where somebody else's value is in its place.
    """

    script: str
    case: str
    call: Callable[[Queue], Call]
    answer: Any
    writes: str
    foreign: Mapping[str, Reply]
    in_full_memory: Reply = AS_USUAL
    # Where it calls XGROUP: before 7.0 Redis counts every form of it among what needs memory.
    in_full_memory_of_6_2: Reply | None = None
    is_batch: bool = False

    @property
    def name(self) -> str:
        return f"{self.script}, {self.case}" if self.case else self.script

    def prepare(self, queue: Queue) -> Call:
        """Set the queue up and return the call, numbered where it is a batch."""
        call = self.call(queue)
        return queue.numbered(call, writer=WRITER) if self.is_batch else call

    def again(self, queue: Queue, call: Call) -> Call:
        """Return a call once more; a batch with another number."""
        if not self.is_batch:
            return call
        return queue.numbered(Call(call.script, call.keys, call.args[3:]), writer=WRITER)

    def answers(self, reply: Reply, key: str) -> Any:
        """Return the answer of a reply; key is where the foreign value is."""
        return self.answer if reply.answer is USUAL else _with_key(reply.answer, key)

    def written(self, reply: Reply) -> set[str]:
        """Return the names of the keys that are written when this is the reply."""
        return set((self.writes if reply.writes is None else reply.writes).split())


def lane(priority: int = 0) -> str:
    """Return the name of the stream of a lane; that of its front has :front behind it."""
    return f"lane:workers:default:{priority}"


def lane_and_front(priority: int = 0) -> str:
    return f"{lane(priority)} {lane(priority)}:front"


def all_of(names: str, reply: Reply) -> dict[str, Reply]:
    """Return the same reply for foreign values in several keys."""
    return dict.fromkeys(names.split(), reply)


def key_named(keys: Keys, name: str) -> str:
    """Return the key of a name: live:<id> is its bucket, tm:… the fleet's, else the queue's."""
    if name.startswith(f"{keys.namespace}:"):
        return name
    if name.startswith("live:"):
        return keys.live(name.removeprefix("live:"))
    return keys.base + name


def written(before: Snapshot, after: Snapshot) -> set[str]:
    """Return the keys that came, went or changed."""
    return {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}


def shape(value: Any) -> Any:
    """Return a value of a snapshot without what is another each time."""
    if isinstance(value, bytes):
        return _CHANGING.sub(b"#", value)
    if isinstance(value, float):
        return min(value, _A_TIME)
    if isinstance(value, dict):
        return {shape(key): shape(it) for key, it in value.items()}
    if isinstance(value, list | tuple | set):
        return type(value)(shape(it) for it in value)
    return value


def keys_named(keys: Keys, names: set[str]) -> set[str]:
    return {key_named(keys, name) for name in names}


def plain(answer: Any) -> Any:
    """Return an answer as text, numbers and lists."""
    if isinstance(answer, bytes):
        return answer.decode()
    if isinstance(answer, list):
        return [plain(it) for it in answer]
    return answer


@contextlib.contextmanager
def somebody_elses(redis: redis_py.Redis, key: str) -> Iterator[None]:
    """Put somebody else's value, of another type, where a key of ours is."""
    with foreign_value(redis, key):
        if re.search(r":(result|idem|debounce|ran|fence):", key):
            redis.delete(key)
            redis.rpush(key, "somebody else's")
        yield


def _with_key(answer: Any, key: str) -> Any:
    if isinstance(answer, str):
        return answer.replace("{key}", key)
    if isinstance(answer, list):
        return [_with_key(it, key) for it in answer]
    return answer
