"""What Redis itself counts: commands, and bytes on the wire."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import redis as redis_py


class Cost(NamedTuple):
    """Commands, by clients and within scripts, and the bytes that Redis has read and written.

    Every cost has the bytes of one answer in it that the counter asked for, some 3,000.
    """

    commands: int
    read: int
    written: int


@dataclass
class Counter:
    """Counts what Redis was asked since it was made; its own questions are no commands."""

    redis: redis_py.Redis

    def __post_init__(self) -> None:
        self._calls, self._traffic = self._all_calls(), self._bytes()

    def calls(self, *names: str) -> int:
        """Return how often commands were called, by clients and within scripts."""
        calls = self._all_calls()
        return sum(calls.get(name, 0) - self._calls.get(name, 0) for name in names)

    def cost(self) -> Cost:
        """Return all commands and bytes."""
        read, written = self._bytes()
        return Cost(
            self.calls(*self._all_calls()), read - self._traffic[0], written - self._traffic[1]
        )

    def _all_calls(self) -> dict[str, int]:
        commands: Any = self.redis.info("commandstats")
        calls = {name.removeprefix("cmdstat_"): it["calls"] for name, it in commands.items()}
        calls.pop("info", None)
        return calls

    def _bytes(self) -> tuple[int, int]:
        stats: Any = self.redis.info("stats")
        return stats["total_net_input_bytes"], stats["total_net_output_bytes"]


def cost_of(redis: redis_py.Redis, work: Callable[[], object]) -> Cost:
    """Return what some work has cost."""
    counter = Counter(redis)
    work()
    return counter.cost()
