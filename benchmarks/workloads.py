"""What is measured, by name; nothing else lists the workloads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks import delays, idling, latencies, memory, own_drains, redis_cost
from benchmarks.drains import Drain
from benchmarks.emits import Emits
from benchmarks.figures import Figures
from benchmarks.goals import Goal
from benchmarks.roster import OURS, Contender
from benchmarks.routing import drain, reads, waits
from benchmarks.setting import Setting

Who = Callable[[Contender], bool]


def everybody(_: Contender) -> bool:
    """The contenders of a drain: this project with both event loops, and all peers."""
    return True


def once_each(who: Contender) -> bool:
    """This project as it is run by default, and all peers."""
    return not who.ours or who.name == OURS


def both_of_ours(who: Contender) -> bool:
    """This project with both event loops."""
    return who.ours


def ours(who: Contender) -> bool:
    """This project as it is run by default."""
    return who.name == OURS


@dataclass(frozen=True, slots=True)
class Workload:
    """A measurement and who takes part; headline is the figure that contenders are compared by.

    A contender that is asked for what it has no way to do says so itself.
    """

    name: str
    about: str
    who: Who
    headline: str
    measure: Callable[[Setting, Contender], Figures]
    less_is_better: bool = False
    goals: Sequence[Goal] = ()


_RATE = "jobs_per_s"


def _drain(name: str, about: str, drain: Drain, who: Who = everybody) -> Workload:
    return Workload(name, about, who, _RATE, drain.measure)


def _emits(name: str, about: str, emits: Emits) -> Workload:
    return Workload(name, about, once_each, _RATE, emits.measure)


_ALL = [
    _drain("drain-10", "no-op jobs, 10 slots", Drain("noop", 10)),
    _drain("drain-64", "no-op jobs, 64 slots", Drain("noop", 64)),
    _drain("drain-256", "no-op jobs, 256 slots", Drain("noop", 256)),
    _drain(
        "typed-256",
        "pydantic payload of 200 bytes, result stored, 256 slots",
        Drain("typed", 256),
        both_of_ours,
    ),
    _drain("sync-10", "handlers without async, 10 slots", Drain("sync", 10), once_each),
    # A slot that sleeps 10 ms on average does at most 100 jobs a second.
    _drain(
        "sleep-64",
        "handlers that sleep 0 to 20 ms, 64 slots",
        Drain("sleep", 64, ideal=64 / 0.010),
        once_each,
    ),
    _emits("emit-sequential", "one emit after the other", Emits("emit-sequential")),
    _emits("emit-concurrent", "100 emits in flight", Emits("emit-concurrent")),
    _emits("emit-bulk", "the bulk call, ours with 10,000 jobs each", Emits("emit-bulk")),
    Workload(
        "latency-idle",
        "emit to handler on an idle worker of 10 slots, a job each 20 ms",
        once_each,
        "p50_us",
        latencies.idle,
        less_is_better=True,
    ),
    Workload(
        "memory",
        "Redis' memory a job: waiting, delayed, in flight, and after a drain",
        once_each,
        "waiting_bytes_per_job",
        memory.a_job,
        less_is_better=True,
    ),
    Workload(
        "lateness",
        "10,000 jobs due within one second, 256 slots",
        ours,
        "p50_us",
        delays.lateness,
        less_is_better=True,
    ),
    Workload(
        "cold-start",
        "start of a worker process to its first job",
        ours,
        "first_mark_ms",
        latencies.cold_start,
        less_is_better=True,
    ),
    Workload(
        "priorities-10",
        "a drain over 10 priorities against one, 256 slots",
        ours,
        "ten_to_one",
        own_drains.PRIORITIES.measure,
    ),
    Workload(
        "lanes-32",
        "a drain over all 32 lanes that a queue may have against one, 256 slots",
        ours,
        "all_to_one",
        own_drains.LANES.measure,
    ),
    Workload(
        "backlog",
        "the first 100,000 jobs with 10k, 100k and 1M waiting, 256 slots",
        ours,
        "100k_to_10k",
        own_drains.BACKLOG.measure,
    ),
    Workload(
        "workers",
        "1, 2 and 4 worker processes of 256 slots",
        ours,
        "two_to_one",
        own_drains.WORKERS.measure,
    ),
    Workload(
        "aof",
        "a drain with a Redis that writes each second, 256 slots",
        ours,
        "aof_to_plain",
        own_drains.AOF.measure,
    ),
    Workload(
        "delayed-1m",
        "a million jobs due at the same moment, 256 slots",
        ours,
        "slowest_command_ms",
        delays.million,
        less_is_better=True,
    ),
    Workload(
        "idle",
        "a worker of 10 slots without jobs",
        ours,
        "commands_per_s",
        idling.worker,
        less_is_better=True,
    ),
    Workload(
        "redis-cost",
        "Redis' processor time per job of each step, beside a plain loop on a stream",
        ours,
        "job_to_plain",
        redis_cost.of_a_job,
        less_is_better=True,
    ),
    Workload(
        "routing",
        "waits of jobs that 12 of 16 workers may run, 4 slots each, load 0.9, exponential times",
        ours,
        "routed_p99_to_ideal",
        waits.Waits("exponential").measure,
        less_is_better=True,
        goals=waits.GOALS,
    ),
    Workload(
        "routing-llm",
        "the same with the sizes of the Azure LLM trace (Microsoft, CC BY 4.0)",
        ours,
        "routed_p99_to_ideal",
        waits.Waits("azure-llm").measure,
        less_is_better=True,
        goals=waits.GOALS,
    ),
    Workload(
        "routes-drain",
        "no-op jobs of three routes against jobs that every worker may run, 256 slots",
        ours,
        "routed_to_unrouted",
        drain.drains,
        goals=drain.GOALS,
    ),
    Workload(
        "routes-read",
        "Redis' processor time of a read that names 1, 32 or 256 lanes of routes",
        ours,
        "blocked_256_us_per_read",
        reads.of_many_lanes,
        less_is_better=True,
    ),
]

WORKLOADS = {workload.name: workload for workload in _ALL}
