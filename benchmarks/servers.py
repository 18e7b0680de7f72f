"""Which server of this machine a run is on, so that all who are asked for can take part."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.roster import PEERS, Contender
from tests.support.servers import Binary, find_binaries

# What `make bench-peers` builds where there is no Redis that is new enough.
BUILT = PEERS / "redis" / "redis-server"


def find(named: Path | None = None) -> list[Binary]:
    """Return the servers found here, newest first; of a named one that alone."""
    found = find_binaries((named or BUILT,))
    return [it for it in found if named is None or it.path == named]


def choose(servers: Sequence[Binary], contenders: Sequence[Contender]) -> Binary:
    """Return the newest server that all contenders run on, or else the newest of all."""
    return next((it for it in servers if not left_out(it, contenders)), servers[0])


def left_out(server: Binary, contenders: Sequence[Contender]) -> list[Contender]:
    """Return the contenders that cannot take part on a server."""
    return [who for who in contenders if not who.runs_on(server)]


def why(server: Binary, contenders: Sequence[Contender]) -> str:
    """Return a line that says which contenders need another server, and which one."""
    needs = max(who.needs_redis for who in contenders)
    names = ", ".join(who.name for who in contenders)
    return f"not on {server.id}: {names} (Redis {'.'.join(map(str, needs))} or newer is needed)"
