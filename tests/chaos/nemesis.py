"""Do to processes, networks and Redis what the plan says, when it says so."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import redis as redis_py

from consumers.jobs.lanes import Lane, listed_lanes
from consumers.store.keys import Keys
from consumers.store.scripts import Script
from tests.chaos.actors import Actor
from tests.chaos.plan import PARTS_OF_A_QUEUE, Step
from tests.chaos.workload import OTHER, SPOILED, WORK
from tests.support.oracle import Recorder
from tests.support.proxy import FaultProxy
from tests.support.servers import RedisServer

_TICK = 0.02


class Nemesis:
    """Carries out steps and writes down when each really happened.

    scripts are those that the processes run, by name: a mutant has its own.
    """

    def __init__(
        self,
        server: RedisServer,
        actors: Mapping[str, Actor],
        recorder: Recorder,
        scripts: Mapping[str, Script],
    ) -> None:
        self.server = server
        self.actors = actors
        self.recorder = recorder
        self.scripts = scripts

    def run(self, steps: Sequence[Step], *, seconds: float, go_on: Callable[[], bool]) -> None:
        """Carry out the steps for some seconds, tending the processes; less if go_on says no."""
        begin = time.monotonic()
        left = list(steps)
        while (now := time.monotonic() - begin) < seconds and go_on():
            while left and left[0].at <= now:
                self.do(left.pop(0))
            self.tend()
            time.sleep(_TICK)

    def do(self, step: Step) -> None:
        """Carry out one step."""
        self.recorder.note(
            "fault", detail=step.act + f" {step.word}" * bool(step.word), on=step.on, span=step.span
        )
        ACTS[step.act](self, step)

    def tend(self) -> None:
        """Start the processes that are to run; note those that ended without a reason."""
        for actor in self.actors.values():
            if wrong := actor.tend():
                self.recorder.note("died", on=actor.name, detail=wrong)

    def heal(self) -> None:
        """End every fault: all processes run, the network passes, Redis has room."""
        if not self.server.running:
            self.server.start()
        self._config(maxmemory="0")
        for part in PARTS_OF_A_QUEUE:
            self._clear(part)
        for actor in self.actors.values():
            actor.resume()
            actor.proxy.pass_all()
            # What lost bytes stays dead, and would be noticed only by a watchdog.
            actor.proxy.reset_all()

    # On a process

    def kill(self, step: Step) -> None:
        self.actors[step.on].kill()

    def terminate(self, step: Step) -> None:
        self.actors[step.on].terminate()

    def end_loop(self, step: Step) -> None:
        self.actors[step.on].end_loop()

    def start(self, step: Step) -> None:
        self.actors[step.on].start()

    def pause(self, step: Step) -> None:
        self.actors[step.on].pause()

    def resume(self, step: Step) -> None:
        self.actors[step.on].resume()

    # On a process' network

    def refuse(self, step: Step) -> None:
        self.actors[step.on].proxy.refuse()

    def swallow(self, step: Step) -> None:
        self.actors[step.on].proxy.swallow()

    def reset(self, step: Step) -> None:
        self.actors[step.on].proxy.reset_all()

    def latency(self, step: Step) -> None:
        self.actors[step.on].proxy.latency(step.value)

    def bandwidth(self, step: Step) -> None:
        self.actors[step.on].proxy.bandwidth(step.value)

    def slices(self, step: Step) -> None:
        self.actors[step.on].proxy.slices()

    def lose_reply(self, step: Step) -> None:
        script = self.scripts.get(step.word)
        for proxy in self._proxies(step.on):
            if script is None:
                proxy.drop_reply(step.word, times=int(step.value))
            else:
                proxy.drop_reply_of(script, times=int(step.value))

    def keep_replies(self, step: Step) -> None:
        for proxy in self._proxies(step.on):
            proxy.keep_replies()

    def pass_all(self, step: Step) -> None:
        self.actors[step.on].proxy.pass_all()

    def pass_anew(self, step: Step) -> None:
        self.actors[step.on].proxy.pass_all()
        self.actors[step.on].proxy.reset_all()

    # On Redis

    def kill_redis(self, step: Step) -> None:
        self.server.kill()

    def start_redis(self, step: Step) -> None:
        self.server.start()

    def freeze_redis(self, step: Step) -> None:
        with contextlib.suppress(redis_py.TimeoutError):
            self._ask("DEBUG", "SLEEP", step.value, patience=0.05)

    def fill_memory(self, step: Step) -> None:
        self._config(maxmemory="1")

    def free_memory(self, step: Step) -> None:
        self._config(maxmemory="0")

    def kill_clients(self, step: Step) -> None:
        self._ask("CLIENT", "KILL", "TYPE", step.word, "SKIPME", "yes")

    def flush_scripts(self, step: Step) -> None:
        self._ask("SCRIPT", "FLUSH")

    def flush_all(self, step: Step) -> None:
        self._ask("FLUSHALL")

    def destroy_group(self, step: Step) -> None:
        """Take the group from one stream; value says which of them, from 0 to 1."""
        streams = sorted(self._streams())
        if streams:
            key, group = streams[int(step.value * len(streams))]
            self._ask("XGROUP", "DESTROY", key, group)

    def spoil(self, step: Step) -> None:
        """Put a foreign value in the place of a part of the queue that is there for that."""
        key = _part_of_the_spoiled(step.word)
        with self.server.client() as client, client.pipeline() as pipe:
            if client.exists(key):
                pipe.rename(key, _aside(key))
            pipe.set(key, "somebody else's")
            pipe.execute()

    def clear(self, step: Step) -> None:
        self._clear(step.word)

    def _clear(self, part: str) -> None:
        """Put back what was in the place of a foreign value."""
        key = _part_of_the_spoiled(part)
        with self.server.client() as client, client.pipeline() as pipe:
            if client.type(key) == b"string":
                pipe.delete(key)
            if client.exists(_aside(key)):
                pipe.rename(_aside(key), key)
            pipe.execute()

    def _proxies(self, on: str) -> list[FaultProxy]:
        """Return the proxy of one process, or with an empty name all of them."""
        return [it.proxy for it in self.actors.values() if on in ("", it.name)]

    def _streams(self) -> Iterable[tuple[str, str]]:
        for keys in (Keys(WORK), Keys(OTHER)):
            names: Any = self._ask("ZRANGE", keys.lanes, 0, -1)
            for lane in listed_lanes(keys.queue, names or ()):
                yield from _both(keys, lane)

    def _config(self, **values: str) -> None:
        for name, value in values.items():
            self._ask("CONFIG", "SET", name, value)

    def _ask(self, *command: Any, patience: float = 5.0) -> Any:
        with self.server.client(socket_timeout=patience) as client:
            return client.execute_command(*command)


def _part_of_the_spoiled(part: str) -> str:
    keys = Keys(SPOILED)
    return {"meta": keys.meta, "delayed": keys.delayed, "lane": keys.lane(Lane(SPOILED))}[part]


def _aside(key: str) -> str:
    return f"aside:{key}"


def _both(keys: Keys, lane: Lane) -> list[tuple[str, str]]:
    return [(keys.lane(lane), lane.type), (keys.front(lane), lane.type)]


ACTS: Mapping[str, Callable[[Nemesis, Step], None]] = {
    "kill": Nemesis.kill,
    "terminate": Nemesis.terminate,
    "end-loop": Nemesis.end_loop,
    "start": Nemesis.start,
    "pause": Nemesis.pause,
    "resume": Nemesis.resume,
    "refuse": Nemesis.refuse,
    "swallow": Nemesis.swallow,
    "reset": Nemesis.reset,
    "latency": Nemesis.latency,
    "bandwidth": Nemesis.bandwidth,
    "slices": Nemesis.slices,
    "lose-reply": Nemesis.lose_reply,
    "keep-replies": Nemesis.keep_replies,
    "pass": Nemesis.pass_all,
    "pass-anew": Nemesis.pass_anew,
    "kill-redis": Nemesis.kill_redis,
    "start-redis": Nemesis.start_redis,
    "freeze-redis": Nemesis.freeze_redis,
    "fill-memory": Nemesis.fill_memory,
    "free-memory": Nemesis.free_memory,
    "kill-clients": Nemesis.kill_clients,
    "flush-scripts": Nemesis.flush_scripts,
    "flush-all": Nemesis.flush_all,
    "destroy-group": Nemesis.destroy_group,
    "spoil": Nemesis.spoil,
    "clear": Nemesis.clear,
}
