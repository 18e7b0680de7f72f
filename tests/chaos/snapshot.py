"""What Redis holds when a run is over, read once, as plain values."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import redis as redis_py
from redis.exceptions import ResponseError

from consumers.jobs.lanes import listed_lanes
from consumers.store.keys import Fleet, Keys
from tests.support.keyspace import is_ours, may_stay

# What is needed to run a job again, and to see why it died.
_OF_A_LETTER = ("id", "event", "data", "options", "lane", "error")
# Reasons to bury a job that come from its handler: these have a history.
_OF_A_HANDLER = frozenset({"failed", "bad_result"})
# Reasons that are nothing without what was raised.
_TELLS_WHY = _OF_A_HANDLER | {"bad_payload"}


@dataclass(frozen=True, slots=True)
class End:
    """How a run of a job ended, as a result or a dead letter tells it.

    state is completed, dead or cancelled; value the result of a completed one
    (a dict), else the reason. Of a letter delivered is how often the job was
    handed out, and lacks what a letter should have and this one has not.
    """

    queue: str
    job: str
    generation: int
    state: str
    value: Any = None
    is_letter: bool = False
    delivered: int = 0
    lacks: str = ""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """ends are those of the results and of the dead letters.

    left has what still waits, runs or is on its way, as text and number; stray
    the keys that nobody makes, that should have an expiry, or that do not fit
    together. completed is each queue's counter.
    """

    ends: list[End] = field(default_factory=list)
    left: Mapping[str, int] = field(default_factory=dict)
    stray: list[str] = field(default_factory=list)
    completed: Mapping[str, int] = field(default_factory=dict)


def take(client: redis_py.Redis) -> Snapshot:
    """Read everything of the namespace; client decodes its replies."""
    names = sorted(client.scan_iter("*", count=1000))
    queues = [Keys(queue) for queue in sorted(client.smembers(Fleet().queues))]
    ends = [*_letters(client, queues), *_results(client, names)]
    stray = [*_stray_keys(client, names), *_misfits(client, names, queues)]
    completed = {keys.queue: int(client.hget(keys.stats, "completed") or 0) for keys in queues}
    return Snapshot(ends, left(client), stray, completed)


def left(client: redis_py.Redis) -> dict[str, int]:
    """Return what is not over yet: nothing at all when a run is drained."""
    found: dict[str, int] = {}
    for name in client.scan_iter("*", count=1000):
        kind = name.partition("}:")[2]
        if kind.startswith("lane:"):
            found[name] = client.xlen(name)
            found[f"pending in {name}"] = _pending(client, name)
        elif kind.startswith("live:") or kind == "delayed:envelopes" or kind == "delayed:lanes":
            found[name] = client.hlen(name)
        elif kind == "delayed":
            found[name] = client.zcard(name)
        elif kind == "outbox":
            found[name] = client.xlen(name)
        elif kind in ("cancelled", "cancelling"):
            found[name] = client.scard(name)
    return {name: number for name, number in found.items() if number}


def _pending(client: redis_py.Redis, stream: str) -> int:
    try:
        return sum(group["pending"] for group in client.xinfo_groups(stream))
    except ResponseError:
        # The janitor took the lane away meanwhile.
        return 0


def _results(client: redis_py.Redis, names: list[str]) -> list[End]:
    stored = [name for name in names if "}:result:" in name]
    values = client.mget(stored) if stored else []
    return [_result(name, value) for name, value in zip(stored, values, strict=True) if value]


def _result(name: str, value: str) -> End:
    queue = name.partition("{")[2].partition("}")[0]
    generation, said, told = value.split(" ", 2)
    state = said.partition(";")[0]
    held = json.loads(told) if state == "completed" else told
    return End(queue, name.partition("}:result:")[2], int(generation), state, held)


def _letters(client: redis_py.Redis, queues: list[Keys]) -> list[End]:
    return [
        letter_of(keys.queue, letter)
        for keys in queues
        for _, letter in client.xrange(keys.dead)
        if "head" in letter
    ]


def letter_of(queue: str, letter: Mapping[str, str]) -> End:
    """Return what a dead letter of a job tells."""
    head = [int(number) for number in letter["head"].split(":")[:6]]
    lacks = [it for it in _OF_A_LETTER if it not in letter]
    if letter["reason"] in _OF_A_HANDLER and not letter.get("errors"):
        lacks.append("errors")
    if letter["reason"] in _TELLS_WHY:
        lacks += [it for it in _raised(letter) if it not in letter.get("error", "")]
    return End(
        queue, letter["job"], head[1], "dead", letter["reason"],
        is_letter=True, delivered=head[4] + int(letter["delivered"]), lacks=", ".join(lacks),
    )  # fmt: skip


def _raised(letter: Mapping[str, str]) -> list[str]:
    """Return the name of what the application's code raised, where the payload tells it."""
    data = json.loads(letter.get("data") or "null")
    return [data["raises"]] if isinstance(data, dict) and "raises" in data else []


def _stray_keys(client: redis_py.Redis, names: list[str]) -> list[str]:
    with client.pipeline(transaction=False) as pipe:
        for name in names:
            pipe.pttl(name)
        expiries = pipe.execute()
    strange = [f"{name} is no key of ours" for name in names if not is_ours(name)]
    return strange + [
        f"{name} has no expiry"
        for name, expiry in zip(names, expiries, strict=True)
        if expiry == -1 and is_ours(name) and not may_stay(name)
    ]


def _misfits(client: redis_py.Redis, names: list[str], queues: list[Keys]) -> list[str]:
    known = {keys.base for keys in queues}
    found = [
        f"{name} is of a queue that is not listed"
        for name in names
        if "}:" in name and name[: name.index("}:") + 2] not in known
    ]
    for keys in queues:
        found += _unlisted_lanes(client, names, keys) + _unlisted_letters(client, keys)
        found += _keys_of_jobs(client, names, keys)
    return found


def _keys_of_jobs(client: redis_py.Redis, names: list[str], keys: Keys) -> list[str]:
    """Return what is wrong with the idempotency keys of a queue."""
    found = []
    for name in names:
        if name.startswith(f"{keys.base}idem:") and (held := client.get(name)):
            _, job, generation, _ = held.split(" ")
            pointer = client.hget(keys.live(job), job) or ""
            found.append(misheld(name, generation, pointer, client.pttl(name) != -1))
    return [it for it in found if it]


def misheld(name: str, generation: str, pointer: str, expires: bool) -> str:
    """Return what is wrong with an idempotency key, if something is.

    pointer is where the live job with its id is, empty when none lives: the key
    stands for ever for one that lives, and only then.
    """
    lives = pointer.split(" ")[0] == generation
    if lives and expires:
        return f"{name} expires, and its job lives"
    if not lives and not expires:
        return f"{name} has no expiry, and its job has ended"
    return ""


def _unlisted_lanes(client: redis_py.Redis, names: list[str], keys: Keys) -> list[str]:
    listed = [name.encode() for name in client.zrange(keys.lanes, 0, -1)]
    lanes = listed_lanes(keys.queue, listed)
    streams = {it for lane in lanes for it in (keys.lane(lane), keys.front(lane))}
    return [
        f"{name} is no lane of its queue's list"
        for name in names
        if name.startswith(f"{keys.base}lane:") and name not in streams
    ]


def _unlisted_letters(client: redis_py.Redis, keys: Keys) -> list[str]:
    letters = {letter["job"] for _, letter in client.xrange(keys.dead)}
    indexed = set(client.hkeys(keys.dead_index))
    return [f"{keys.dead_index} and {keys.dead} differ in {it}" for it in letters ^ indexed]
