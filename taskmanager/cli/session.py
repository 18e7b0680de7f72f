"""Do one thing with the task manager that the command line describes."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

import click

from taskmanager.cli import addresses
from taskmanager.cli.exits import FAILURE, Exit, reported

if TYPE_CHECKING:
    from consumers.connections.connector import Connector
    from consumers.errors import Request
    from taskmanager.manager import TaskManager

T = TypeVar("T")

# A person is waiting, and two seconds are enough to distinguish a slow Redis from none.
PATIENCE_S = 2.0


def manager(context: click.Context) -> TaskManager[Any]:
    """Return the task manager of this command. With --app it is the app's, with its settings."""
    found: TaskManager[Any] | None = context.meta.get("tm")
    if found is None:
        found = context.meta["tm"] = _configured(context)
    return found


def answer(
    context: click.Context,
    work: Callable[[TaskManager[Any]], Awaitable[T]],
    *,
    storing: bool = False,
) -> T:
    """Run work on an event loop, connected, and return its result; errors end the command.

    It may be called several times, so that a person can be asked something in between. `storing`:
    the work emits a job, and errors mention it if nothing was stored.
    """
    import asyncio

    request: Request = "emit" if storing else "read"
    with reported(), _refusals_reported():
        return asyncio.run(_answer(manager(context), work, request))


def _configured(context: click.Context) -> TaskManager[Any]:
    from taskmanager.cli.loading import load
    from taskmanager.manager import TaskManager

    app = addresses.app(context)
    tm = load(app) if app else TaskManager()
    tm.configure(**addresses.settings(context), emit_timeout=PATIENCE_S)
    return tm


async def _answer(
    tm: TaskManager[Any], work: Callable[[TaskManager[Any]], Awaitable[T]], request: Request
) -> T:
    async with tm:
        await _reach(tm.connector, request)
        return await work(tm)


async def _reach(connector: Connector, request: Request) -> None:
    """Raise RedisUnavailable if Redis does not answer soon; commands would wait longer.

    A paused server still accepts connections, so only an answer counts.
    """
    import asyncio

    from redis.exceptions import ConnectionError

    from consumers.connections.wire import Wire
    from consumers.errors import RedisUnavailable

    wire = Wire(connector, name=None)
    try:
        async with asyncio.timeout(PATIENCE_S):
            await wire.send("PING")
    except (ConnectionError, TimeoutError) as error:
        reason = str(error) or f"no answer within {PATIENCE_S:g} s"
        raise RedisUnavailable(
            connector.where, reason, outcome="not_sent", request=request
        ) from error
    finally:
        await wire.close()


@contextlib.contextmanager
def _refusals_reported() -> Iterator[None]:
    """Turn refusals of Redis, for example of a command this user may not run, into an Exit."""
    from redis.exceptions import ResponseError

    try:
        yield
    except ResponseError as error:
        raise Exit(f"Redis refused a command: {' '.join(str(error).split())}", FAILURE) from error
