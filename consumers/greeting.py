"""What is said first on a new connection: our name, for its number and what server it is.

HELLO says all of it in one command, which every user may call. Where it is not to be had
(an old proxy, say), CLIENT may know the number; a hosted Redis may have neither. Names
and numbers are a nicety: nothing fails for want of them.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, TypeAlias

from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ResponseError

from consumers.refusals import WrongServer

Words: TypeAlias = "tuple[str | int, ...]"

_WRONG = {
    b"cluster": "it is a node of a cluster, which is not supported yet: "
    "give the URL of a single server, or of a proxy that makes one of the cluster",
    b"sentinel": "it is a Sentinel: give the URL of the primary that it watches",
}


def greeting(name: str | None) -> Generator[Words, Any, int | None]:
    """Yield what to ask, take each reply (error replies are values), return the number or None.

    Raises WrongServer.
    """
    hello = yield ("HELLO", 2, *(("SETNAME", name) if name else ()))
    if not isinstance(hello, ResponseError):
        return _number(hello)
    if name:
        yield ("CLIENT", "SETNAME", name)
    number = yield ("CLIENT", "ID")
    return number if isinstance(number, int) else None


async def greet(connection: AbstractConnection, name: str | None) -> int | None:
    """Greet on a connection of redis-py; return its number, None when nobody tells."""
    asking = greeting(name)
    words = next(asking)
    while True:
        reply = await _reply(connection, words)
        try:
            words = asking.send(reply)
        except StopIteration as done:
            number: int | None = done.value
            return number


async def _reply(connection: AbstractConnection, words: Words) -> Any:
    await connection.send_command(*words, check_health=False)
    try:
        return await connection.read_response()
    except ResponseError as error:
        return error


def _number(hello: Any) -> int | None:
    if not isinstance(hello, list):
        return None
    facts = dict(zip(hello[::2], hello[1::2], strict=False))
    if (wrong := _WRONG.get(facts.get(b"mode", b""))) is not None:
        raise WrongServer(wrong)
    number = facts.get(b"id")
    return number if isinstance(number, int) else None
