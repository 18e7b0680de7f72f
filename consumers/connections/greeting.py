"""What is said first on a new connection: our name, for its number and what server it is.

HELLO says all of it in one command, which every user may call. Where it is not to be had
(an old proxy, say), CLIENT may know the number; a hosted Redis may have neither. Names
and numbers are a nicety: nothing fails for want of them.

A server in cluster mode has to serve all slots by itself, as those of hosted services do
that have one shard: jobs of other nodes' slots could neither be kept nor read here.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any, NamedTuple, TypeAlias

from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ResponseError

from consumers.connections.not_now import WrongServer

Words: TypeAlias = "tuple[str | int, ...]"

_SLOTS = 16_384
_OF_SEVERAL = (
    "it is a cluster node, which is supported only if one node serves all slots: "
    "give the URL of a single server, or of a proxy in front of the cluster"
)
_SENTINEL = "it is a Sentinel: give the URL of the primary that it watches"


class Greeted(NamedTuple):
    """What was learnt: the server's number of the connection, and whether it is in cluster mode.

    In cluster mode no command may name keys of several slots. The number is None where
    nobody tells.
    """

    number: int | None
    is_cluster: bool = False


def greeting(name: str | None) -> Generator[Words, Any, Greeted]:
    """Yield what to ask, take each reply (error replies are values), return what was learnt.

    Raises WrongServer.
    """
    hello = yield ("HELLO", 2, *(("SETNAME", name) if name else ()))
    if isinstance(hello, ResponseError):
        if name:
            yield ("CLIENT", "SETNAME", name)
        return Greeted(_number((yield ("CLIENT", "ID"))))
    facts = dict(zip(hello[::2], hello[1::2], strict=False)) if isinstance(hello, list) else {}
    mode = facts.get(b"mode")
    if mode == b"sentinel":
        raise WrongServer(_SENTINEL)
    if mode == b"cluster" and not _serves_all((yield ("CLUSTER", "SLOTS"))):
        raise WrongServer(_OF_SEVERAL)
    return Greeted(_number(facts.get(b"id")), mode == b"cluster")


async def greet(connection: AbstractConnection, name: str | None) -> Greeted:
    """Greet on a connection of redis-py; return what was learnt."""
    asking = greeting(name)
    words = next(asking)
    while True:
        reply = await _reply(connection, words)
        try:
            words = asking.send(reply)
        except StopIteration as done:
            greeted: Greeted = done.value
            return greeted


async def _reply(connection: AbstractConnection, words: Words) -> Any:
    await connection.send_command(*words, check_health=False)
    try:
        return await connection.read_response()
    except ResponseError as error:
        return error


def _number(told: Any) -> int | None:
    return told if isinstance(told, int) else None


def _serves_all(told: Any) -> bool:
    """Whether the reply to CLUSTER SLOTS names one and the same node for every slot."""
    try:
        served = sorted((start, end) for start, end, *_ in told)
        # By its id, which only old servers leave out, or by its address.
        nodes = {tuple(node[2:3] or node[:2]) for _, _, node, *_ in told}
        return len(nodes) == 1 and _are_all(served)
    except (TypeError, ValueError):
        # An error (the user may not ask), or what only a stand-in for Redis says.
        return False


def _are_all(ranges: Sequence[tuple[int, int]]) -> bool:
    following = 0
    for start, end in ranges:
        if start != following:
            return False
        following = end + 1
    return following == _SLOTS
