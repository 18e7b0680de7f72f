"""The engine with one guarantee taken away: what the checker must see.

A process becomes a mutant before it starts. Nothing in the engine knows of
this: the texts of scripts and single methods are replaced from here. Each
replacement names what it replaces, so that it fails loudly when that changes.
"""

from __future__ import annotations

import asyncio
import contextvars
import dataclasses
import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from consumers import surroundings
from consumers.connections.channel import SyncChannel
from consumers.fetch import admission, follower, reader
from consumers.jobs.outcome import Buried, Outcome
from consumers.lease import renewer
from consumers.run import executor
from consumers.run.run import Run
from consumers.store.delivery import Delivery, Stream
from consumers.store.scripts import Script
from tests.support.scripts import engine_scripts, held

_OWNERSHIP = "local function owns(stream, group, entry, consumer, count)\n"
_OWNED_BY_ANYBODY = f"{_OWNERSHIP}  if true then return true end\n"
_MEMORY = "if number ~= '0' then\n  local seen"
_NO_MEMORY = "if false then\n  local seen"

# Script, text in it, and what stands there instead.
_TEXTS: Mapping[str, Sequence[tuple[str, str, str]]] = {
    "no-fence": [("settle", _OWNERSHIP, _OWNED_BY_ANYBODY)],
    "no-memory": [("settle", _MEMORY, _NO_MEMORY), ("emit", _MEMORY, _NO_MEMORY)],
    "early-ack": [
        ("settle", _OWNERSHIP, _OWNED_BY_ANYBODY),
        ("renew", _OWNERSHIP, _OWNED_BY_ANYBODY),
    ],
    "group-at-end": [("repair_lane", "ARGV[2], '0', 'MKSTREAM'", "ARGV[2], '$', 'MKSTREAM'")],
}


def scripts(mutant: str = "") -> dict[str, Script]:
    """Return the engine's scripts by name, as a mutant has them (none: as they are)."""
    found = {script.name: script for script in engine_scripts()}
    for name, old, new in _TEXTS.get(mutant, ()):
        script = found[name]
        assert script.source.count(old) == 1, f"{name} does not have this once: {old!r}"
        found[script.name] = _with_source(script, script.source.replace(old, new))
    return found


def become(mutant: str) -> None:
    """Make this process a mutant; an empty name leaves it as it is."""
    if not mutant:
        return
    changed = scripts(mutant)
    for module, name, script in held():
        if changed[script.name].source != script.source:
            setattr(module, name, changed[script.name])
    _DEEDS.get(mutant, _nothing)()


def _with_source(script: Script, source: str) -> Script:
    sha = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()
    return dataclasses.replace(script, source=source, sha=sha)


def _nothing() -> None: ...


def _acknowledge_before_running() -> None:
    read = reader.Reader.read

    async def read_and_acknowledge(
        self: reader.Reader, streams: Sequence[Stream], count: int, *, block: float = 0.0
    ) -> list[Delivery]:
        deliveries = await read(self, streams, count, block=block)
        for it in deliveries:
            await self.ask(("XACK", it.stream.key, self.group, it.entry))
        return deliveries

    reader.Reader.read = read_and_acknowledge  # type: ignore[method-assign]


def _renew_on_the_loop() -> None:
    def start(self: Any) -> None:
        channel = SyncChannel(self._connector, name=f"renewer-{self._consumer}")

        async def run() -> None:
            while not self._stopping.is_set():
                await asyncio.sleep(self._tick())
                self._step(channel)
            channel.close()

        self._running = asyncio.get_running_loop().create_task(run())

    assert callable(renewer.Renewer._run)
    renewer.Renewer.start = start  # type: ignore[method-assign]


def _inherit_the_context() -> None:
    def inherit(self: surroundings.Surroundings) -> None:
        self.fresh = contextvars.copy_context

    assert callable(surroundings.Surroundings().fresh)
    surroundings.Surroundings.__init__ = inherit  # type: ignore[method-assign]


def _let_the_loop_end_bury() -> None:
    def bury(self: executor.Executor, run: Run) -> Outcome:
        return Buried("failed", "its event loop has ended")

    assert callable(executor.Executor._cut_off)
    executor.Executor._cut_off = bury  # type: ignore[method-assign]


def _catch_few_errors_of_validators() -> None:
    refused = admission.Admission._refused

    def refuse_some(self: admission.Admission, delivery: Delivery, error: BaseException) -> Outcome:
        if not isinstance(error, ValueError):
            raise error
        return refused(self, delivery, error)

    admission.Admission._refused = refuse_some  # type: ignore[method-assign]


def _let_one_queue_stop_all() -> None:
    assert callable(follower.Follower._refreshed_alone)
    follower.Follower._refreshed_alone = follower.Follower._refreshed  # type: ignore[method-assign]


_DEEDS: Mapping[str, Callable[[], None]] = {
    "early-ack": _acknowledge_before_running,
    "renew-on-loop": _renew_on_the_loop,
    "leaky-context": _inherit_the_context,
    "loop-end-buries": _let_the_loop_end_bury,
    "narrow-net": _catch_few_errors_of_validators,
    "one-stops-all": _let_one_queue_stop_all,
}
# Each mutant with the profile of faults that it does not survive.
PROFILES: Mapping[str, str] = {
    "no-fence": "partitions",
    "no-memory": "lost-replies",
    "early-ack": "kills",
    "group-at-end": "lost-groups",
    "renew-on-loop": "blocked-loops",
    "leaky-context": "calm",
    "loop-end-buries": "ended-loops",
    "narrow-net": "rude-code",
    "one-stops-all": "spoiled-queues",
}
