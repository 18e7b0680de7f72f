"""The units of examples/systemd: what they start, and how it stops."""

from __future__ import annotations

import asyncio
import os
import signal
from dataclasses import fields
from pathlib import Path

import pytest

from taskmanager import Settings, TaskManager
from taskmanager.settings import PREFIX
from tests.support import sessions
from tests.support.deployed import EXAMPLES, Unit, arguments_of, longest_stop, variables
from tests.support.processes import Child, Spawner
from tests.support.servers import RedisServer
from tests.support.waiting import PATIENCE, aeventually

SYSTEMD = EXAMPLES / "systemd"
UNITS = sorted(SYSTEMD.glob("*.service"))
APP = EXAMPLES / "compose"
SETTINGS = variables((SYSTEMD / "worker.env").read_text())
# systemd ignores a key that it does not know, with a line in its log.
KNOWN = {
    "Unit": {"Description", "Wants", "After"},
    "Service": {
        "Type", "User", "WorkingDirectory", "Environment", "EnvironmentFile", "ExecStart",
        "KillMode", "KillSignal", "TimeoutStopSec", "Restart", "RestartSec", "OOMPolicy",
        "NoNewPrivileges", "CapabilityBoundingSet", "ProtectSystem", "ProtectHome", "PrivateTmp",
        "PrivateDevices", "ProtectControlGroups", "ProtectKernelModules",
        "ProtectKernelTunables", "RestrictAddressFamilies", "RestrictSUIDSGID",
        "LockPersonality", "SystemCallArchitectures", "StateDirectory",
    },
    "Install": {"WantedBy"},
}  # fmt: skip


def start(spawn: Spawner, server: RedisServer, **settings: str) -> Child:
    """Start what the unit starts, in the folder of an app, with the settings of the example."""
    unit = Unit.read(SYSTEMD / "taskmanager-worker.service")
    env = {**unit.environment, **SETTINGS, "TASKMANAGER_REDIS_URL": server.url, **settings}
    worker = spawn.python(*arguments_of(unit.command), cwd=APP, env=env)
    for _ in range(int(unit.command[unit.command.index("-p") + 1])):
        worker.wait_for_line("ready for jobs")
    return worker


@pytest.mark.parametrize("path", UNITS, ids=lambda it: it.stem)
def test_a_unit_says_nothing_that_systemd_does_not_know(path: Path) -> None:
    unit = Unit.read(path)

    assert unit.sections.keys() == KNOWN.keys()
    for section, keys in unit.sections.items():
        assert keys.keys() <= KNOWN[section]


@pytest.mark.parametrize("path", UNITS, ids=lambda it: it.stem)
def test_a_unit_gives_its_workers_time_to_stop(path: Path) -> None:
    unit = Unit.read(path)

    assert longest_stop({**unit.environment, **SETTINGS}) < float(unit.get("TimeoutStopSec"))
    # A stop ends with 0, which this does not restart.
    assert unit.get("Restart") == "on-failure"
    assert "SuccessExitStatus" not in unit.sections["Service"]


@pytest.mark.parametrize("path", UNITS, ids=lambda it: it.stem)
def test_a_unit_runs_with_its_settings_and_not_as_root(path: Path) -> None:
    unit = Unit.read(path)

    # A worker tells systemd nothing; with Type=notify it would be killed at its start.
    assert unit.get("Type") == "exec"
    assert unit.get("User") == "shop"
    assert unit.get("WorkingDirectory") == "/opt/shop"
    assert unit.get("EnvironmentFile") == "/etc/shop/worker.env"
    assert unit.get("NoNewPrivileges") == "true"


def test_the_settings_are_settings() -> None:
    known = {f"{PREFIX}{it.name.upper()}" for it in fields(Settings)}

    assert {"TASKMANAGER_REDIS_URL"} <= SETTINGS.keys() <= known


async def test_a_stop_lets_a_running_job_finish(
    spawn: Spawner, server: RedisServer, tm: TaskManager
) -> None:
    worker = start(spawn, server)
    handle = await tm.emit("make_invoice", data={"order": 7, "pages": 2})
    await aeventually(handle.progress)

    Unit.read(SYSTEMD / "taskmanager-worker.service").stop(worker)
    code = await asyncio.to_thread(worker.wait)

    assert code == 0, worker.text
    assert await handle.result(timeout=PATIENCE) == "invoice-7.pdf"
    assert (await handle.info()).attempts == 1


async def test_a_signal_to_every_process_would_cancel_a_running_job(
    spawn: Spawner, server: RedisServer, tm: TaskManager
) -> None:
    worker = start(spawn, server, TASKMANAGER_SHUTDOWN_TIMEOUT="600")
    handle = await tm.emit("make_invoice", data={"order": 7, "pages": 600})
    await aeventually(handle.progress)

    for pid in sessions.members(worker.pid):
        if pid != worker.pid:
            os.kill(pid, signal.SIGTERM)
    worker.wait_for_line("stopping: waiting up to 600 s")
    worker.terminate()
    code = await asyncio.to_thread(worker.wait)

    assert code == 0, worker.text
    assert await handle.status() == "waiting"
