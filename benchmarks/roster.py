"""Who is measured: how each contender is started, and which are installed.

A peer lives in a folder of its own under ``.peers``: a virtual environment, or
for Node a folder with node_modules. ``make bench-peers`` makes them.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from tests.support.servers import Binary

ROOT = Path(__file__).resolve().parents[1]
CONTENDERS = Path(__file__).resolve().parent / "contenders"
PEERS = ROOT / ".peers"

OURS = "taskmanager"
NODE_PEER = "bullmq_node"
CHASQUIMQ = "chasquimq"
# It emits with XADD ... IDMP.
CHASQUIMQ_NEEDS_REDIS = (8, 6)

_VERSION_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Contender:
    """One program that emits and runs jobs; the mode is added to its command.

    The language is that of its core: what talks to Redis. needs_redis is the oldest Redis
    that it runs on, where that is not the oldest of all; a Valkey does not count as one.
    """

    name: str
    command: tuple[str, ...]
    needs: Path
    package: str
    ours: bool = False
    language: Literal["python", "rust", "node"] = "python"
    env: Mapping[str, str] = field(default_factory=dict)
    needs_redis: tuple[int, ...] = ()

    @property
    def installed(self) -> bool:
        """Whether everything that it needs is on this machine."""
        return self.needs.exists() and shutil.which(self.command[0]) is not None

    def runs_on(self, server: Binary) -> bool:
        """Whether the server has the commands that it needs."""
        if not self.needs_redis:
            return True
        return server.kind == "redis" and server.numbers >= self.needs_redis

    def version(self) -> str:
        """Return the version of its package; "unknown" when it cannot be had."""
        if self.language == "node":
            return _node_version(self.needs)
        ask = f"from importlib.metadata import version; print(version({self.package!r}))"
        return _said(self.command[0], "-c", ask)


def own_program() -> Contender:
    """Return the program of the workloads that only this project has."""
    return Contender(
        name="own",
        command=(sys.executable, "-m", "benchmarks.own"),
        needs=ROOT / "benchmarks" / "own.py",
        package="taskmanager-streams",
        ours=True,
        env={"PYTHONPATH": str(ROOT)},
    )


def fleet_program() -> Contender:
    """Return the program of the workloads of a fleet whose workers may not run every job."""
    command = (sys.executable, "-m", "benchmarks.routing.program")
    script = ROOT / "benchmarks" / "routing" / "program.py"
    return replace(own_program(), name="fleet", command=command, needs=script)


def roster(peers: Path = PEERS) -> list[Contender]:
    """Return all contenders in the order of reports, installed or not."""
    return [*_ours(), *_rust_peers(peers), *_python_peers(peers), _node_peer(peers)]


def _ours() -> list[Contender]:
    return [_one_of_ours(OURS, "uvloop"), _one_of_ours(f"{OURS}-asyncio", "asyncio")]


def _one_of_ours(name: str, loop: str) -> Contender:
    script = CONTENDERS / "taskmanager_app.py"
    return Contender(
        name=name,
        command=(sys.executable, str(script)),
        needs=script,
        package="taskmanager-streams",
        ours=True,
        env={"PYTHONPATH": str(ROOT), "BENCH_LOOP": loop},
    )


# The names of their folders and scripts, with the packages on PyPI.
_PYTHON_PEERS: Mapping[str, str] = {
    "taskiq": "taskiq-redis",
    "streaq": "streaq",
    "saq": "saq",
    "arq": "arq",
    "dramatiq": "dramatiq",
    "rq": "rq",
    "celery": "celery",
    "bullmq": "bullmq",
}


def _python_peers(peers: Path) -> list[Contender]:
    return [_python_peer(peers / name, package) for name, package in _PYTHON_PEERS.items()]


def _rust_peers(peers: Path) -> list[Contender]:
    """Return the peers with a Python interface and a core in Rust."""
    chasquimq = replace(
        _python_peer(peers / CHASQUIMQ, CHASQUIMQ),
        language="rust",
        needs_redis=CHASQUIMQ_NEEDS_REDIS,
    )
    with_results = {**chasquimq.env, "BENCH_RESULTS": "1"}
    return [
        chasquimq,
        replace(chasquimq, name=f"{CHASQUIMQ}-results", env=with_results),
        replace(_python_peer(peers / "ardiq", "ardiq"), language="rust"),
    ]


def _python_peer(home: Path, package: str) -> Contender:
    interpreter = home / "bin" / "python"
    # Programs that the peer starts by name are to be those of its own environment.
    path = os.pathsep.join([str(interpreter.parent), os.environ.get("PATH", "")])
    return Contender(
        name=home.name,
        command=(str(interpreter), str(CONTENDERS / f"{home.name}_app.py")),
        needs=interpreter,
        package=package,
        env={"PATH": path, "PYTHONPATH": "", "BENCH_LOOP": "uvloop"},
    )


def _node_peer(peers: Path) -> Contender:
    modules = peers / "bullmq_node" / "node_modules"
    return Contender(
        name=NODE_PEER,
        command=("node", str(CONTENDERS / "bullmq_node.js")),
        needs=modules / "bullmq",
        package="bullmq",
        language="node",
        env={"NODE_PATH": str(modules)},
    )


def _node_version(package: Path) -> str:
    try:
        version = json.loads((package / "package.json").read_text())["version"]
    except (OSError, ValueError, KeyError):
        return "unknown"
    return f"{version} on Node {_said('node', '--version')}"


def _said(*command: str) -> str:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_VERSION_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return done.stdout.strip()
