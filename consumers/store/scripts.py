"""The Lua scripts, each read once from its file with its includes pasted in, and how they are run.

Nothing else sends EVALSHA or EVAL.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Protocol

from redis.exceptions import NoScriptError, RedisError, TimeoutError

from consumers.connections.channel import Channel, SyncChannel
from consumers.connections.link import Argument
from consumers.connections.wire import NotSent, Receiver
from consumers.store.keys import never_beside

# Redis 6.2 replicates a script as its text unless told otherwise, and then
# refuses writes after commands like TIME and XPENDING. Later versions ignore it.
# An include gives one accessor, which makes its functions when it is first called, and keeps
# them in made: Lua makes each function anew at every call of a script.
_PROLOGUE = "redis.replicate_commands()\nlocal made = {}\n"
_CHOICE = re.compile(r"\{\{(\w+)\}\}")
_INCLUDE = re.compile(r"^-- include ([\w/]+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Script:
    """A script's text and the digest Redis knows it by."""

    name: str
    source: str
    sha: str

    def by_sha(self, keys: Sequence[str], args: Sequence[Argument]) -> tuple[Argument, ...]:
        """Return the command that calls the script when Redis has it."""
        return ("EVALSHA", self.sha, *_declared(keys), *args)

    def by_source(self, keys: Sequence[str], args: Sequence[Argument]) -> tuple[Argument, ...]:
        """Return the command that calls the script and makes Redis keep it."""
        return ("EVAL", self.source, *_declared(keys), *args)


def _declared(keys: Sequence[str]) -> tuple[Argument, ...]:
    """Return the keys of a script as they are sent, with their number before them."""
    never = never_beside(keys[-1]) if keys else None
    return (len(keys), *keys) if never is None else (len(keys) + 1, *keys, never)


# Not frozen: several are made for a batch, and setting the fields would take most of the time.
@dataclass(slots=True)
class Call:
    """A script with its keys and arguments."""

    script: Script
    keys: list[str]
    args: list[Argument]

    @property
    def by_sha(self) -> tuple[Argument, ...]:
        """The command that calls the script when Redis has it."""
        return self.script.by_sha(self.keys, self.args)

    @property
    def by_source(self) -> tuple[Argument, ...]:
        """The command that calls the script and makes Redis keep it."""
        return self.script.by_source(self.keys, self.args)


@dataclass(frozen=True, slots=True)
class Dialect:
    """What differs in the texts of scripts from one Redis to another.

    now is the Lua expression of the time by which jobs are due; publish is the command that tells
    those who wait for a job: SPUBLISH where results have channels of their shards.
    """

    now: str = "server_ms()"
    publish: str = "PUBLISH"


# The only one in use so far.
PLAIN = Dialect()


class Sends(Protocol):
    """A connection on which one command is sent and its reply awaited."""

    refusal: str
    """Why the last try to connect failed; empty once one went well."""

    def send(self, *args: Argument) -> Any:
        """Send one command and return the future of its reply."""

    def withdraw(self, reply: Receiver) -> bool:
        """Take back a command that is not written yet; return whether it was not."""


@cache
def load(name: str, package: str = "consumers.store", dialect: Dialect = PLAIN) -> Script:
    """Return the script of lua/<name>.lua in a package, with its includes from there.

    ``{{now}}`` in a text stands for the dialect's now, and so on.
    """
    folder = resources.files(package).joinpath("lua")

    def read(path: str) -> str:
        return folder.joinpath(path).read_text("utf-8")

    text = _INCLUDE.sub(lambda found: read(f"include/{found[1]}.lua"), read(f"{name}.lua"))
    source = _PROLOGUE + _CHOICE.sub(lambda found: getattr(dialect, found[1]), text)
    # Redis names scripts by SHA-1; nothing here depends on its strength.
    sha = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()
    return Script(name, source, sha)


def names(package: str = "consumers.store") -> list[str]:
    """Return the names of a package's scripts, sorted."""
    files = resources.files(package).joinpath("lua").iterdir()
    return sorted(it.name.removesuffix(".lua") for it in files if it.name.endswith(".lua"))


async def call(wire: Sends, step: Call, *, until: float = math.inf) -> Any:
    """Run a script, sending its text only when Redis has not got it (SCRIPT FLUSH, restart).

    When there is no answer at the monotonic time ``until`` it raises NotSent if
    nothing was written, else redis.exceptions.TimeoutError: then it may have
    been executed, or may yet be.
    """
    try:
        return await _in_time(wire, wire.send(*step.by_sha), until)
    except NoScriptError:
        return await _in_time(wire, wire.send(*step.by_source), until)


async def ask(channel: Channel, step: Call, *, timeout: float) -> Any:
    """Run a script on a channel, which must be free; raises its ResponseError."""
    (reply,) = await channel.ask(step.by_sha, timeout=timeout)
    if isinstance(reply, NoScriptError):
        (reply,) = await channel.ask(step.by_source, timeout=timeout)
    return _answer(reply)


def ask_in_thread(channel: SyncChannel, step: Call, *, timeout: float) -> Any:
    """Run a script as ask does, for a thread without an event loop."""
    (reply,) = channel.ask(step.by_sha, timeout=timeout)
    if isinstance(reply, NoScriptError):
        (reply,) = channel.ask(step.by_source, timeout=timeout)
    return _answer(reply)


def _answer(reply: Any) -> Any:
    if isinstance(reply, RedisError):
        raise reply
    return reply


async def _in_time(wire: Sends, reply: asyncio.Future[Any], until: float) -> Any:
    if until == math.inf:
        return await reply
    # Cheaper than a task with a timeout; whoever sends drops replies nobody waits for.
    timer = ReplyTimer()
    timer.start(wire, reply, until)
    try:
        return await reply
    finally:
        timer.stop()
        timer.cancel()


class ReplyTimer:
    """Fails a reply when its time is up, and one that comes after it.

    Between two replies it stays armed, and looks what it waits for by then: it is not armed for
    each of them.
    """

    __slots__ = ("_handle", "_until", "_waiting")

    def __init__(self) -> None:
        self._waiting: tuple[Sends, Receiver, float] | None = None
        self._handle: asyncio.TimerHandle | None = None
        # When it looks next, as a monotonic time.
        self._until = 0.0

    def start(self, wire: Sends, reply: Receiver, until: float) -> None:
        """Fail the reply at a time, unless it has come."""
        self._waiting = wire, reply, until
        if self._handle is None or until < self._until:
            self._arm(until)

    def stop(self) -> None:
        """Leave the reply alone."""
        self._waiting = None

    def cancel(self) -> None:
        """Do nothing any more."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _arm(self, until: float) -> None:
        self.cancel()
        self._until = until
        loop = asyncio.get_running_loop()
        self._handle = loop.call_later(max(0.0, until - time.monotonic()), self._look)

    def _look(self) -> None:
        self._handle = None
        if self._waiting is None:
            return
        wire, reply, until = self._waiting
        if until > self._until:
            self._arm(until)
        else:
            _expire(wire, reply)


def _expire(wire: Sends, reply: Receiver) -> None:
    if reply.done():
        return
    if wire.withdraw(reply):
        why = f": {wire.refusal}" if wire.refusal else ""
        reply.set_exception(NotSent(f"no connection in time{why}"))
    else:
        reply.set_exception(TimeoutError("no answer in time"))
