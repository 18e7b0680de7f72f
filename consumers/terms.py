"""What a consumer was given, checked: plain values that every part of it may take."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from consumers.jobs.bounds import (
    LEAST_LEASE,
    MOST_SLOTS,
    DeadLetterBounds,
    check_count,
    check_queues,
    check_seconds,
)
from consumers.jobs.envelope import ENVELOPE_VERSION
from consumers.jobs.names import check_name
from consumers.jobs.routes import Profile
from consumers.store.keys import Fleet, Keys
from consumers.store.queue_workers import WorkerState


def worker_name(index: int = 0) -> str:
    """Return the default name of a host's worker: stable, unlike its id.

    Characters of the host's name that a name may not have are replaced.
    """
    known = (
        c if c.isascii() and (c.isalnum() or c in "._-") else "-" for c in socket.gethostname()
    )
    return f"{''.join(known).lstrip('._-')[:100] or 'worker'}-{index}"


@dataclass(frozen=True, slots=True)
class Terms:
    """See Consumer for what each means; times are in seconds. Raises InvalidInput."""

    id: str
    profile: Profile
    fleet: Fleet
    queues: Sequence[Keys]
    slots: int
    prefetch: int | None
    lease: float
    max_deliveries: int
    result_ttl: float
    log_ttl: float
    shutdown_timeout: float
    connect_timeout: float
    no_handler_deadline: float
    max_leaked_threads: int
    max_loop_lag: float
    dead_letters: DeadLetterBounds

    @property
    def name(self) -> str:
        """The name of the worker, which it keeps over restarts."""
        return self.profile.name

    @property
    def type(self) -> str:
        """The type of the worker, and so the consumer group that it reads in."""
        return self.profile.type

    def state(self, events: frozenset[str], *, running: int, stopping: bool) -> WorkerState:
        """Return what the worker tells of itself in a queue of which it handles these events."""
        return WorkerState(self.profile, self.slots, running, events, ENVELOPE_VERSION, stopping)

    @classmethod
    def checked(
        cls,
        *,
        name: str | None,
        type: str,
        capabilities: Iterable[str],
        levels: Iterable[int] | None,
        region: str | None,
        namespace: str,
        queues: Sequence[str],
        concurrency: int,
        prefetch: int | None,
        lease: float,
        max_deliveries: int,
        result_ttl: float,
        log_ttl: float,
        shutdown_timeout: float,
        connect_timeout: float,
        no_handler_deadline: float,
        max_leaked_threads: int,
        max_loop_lag: float,
        dead_letters: DeadLetterBounds,
    ) -> Terms:
        """Return the terms of a new consumer; its id is new with every one."""
        profile = Profile.checked(
            name or worker_name(), type, capabilities=capabilities, levels=levels, region=region
        )
        fleet = Fleet(check_name("namespace", namespace))
        return cls(
            id=f"{profile.name}.{secrets.token_hex(8)}",
            profile=profile,
            fleet=fleet,
            queues=[Keys(queue, namespace) for queue in check_queues(queues)],
            slots=check_count("concurrency", concurrency, 1, MOST_SLOTS),
            prefetch=None if prefetch is None else check_count("prefetch", prefetch, 0, MOST_SLOTS),
            lease=check_seconds("lease", lease, LEAST_LEASE),
            max_deliveries=check_count("max_deliveries", max_deliveries, 1, 1000),
            result_ttl=check_seconds("result_ttl", result_ttl, 0),
            log_ttl=check_seconds("log_ttl", log_ttl, 0.001),
            shutdown_timeout=check_seconds("shutdown_timeout", shutdown_timeout, 0),
            connect_timeout=check_seconds("connect_timeout", connect_timeout, 0),
            no_handler_deadline=check_seconds("no_handler_deadline", no_handler_deadline, 0),
            max_leaked_threads=max_leaked_threads,
            max_loop_lag=check_seconds("max_loop_lag", max_loop_lag, 0.1),
            dead_letters=dead_letters,
        )
