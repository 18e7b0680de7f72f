"""Every guarantee has a test that carries its number, on every server found."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.support.servers import find_binaries

_GUARANTEES = range(1, 15)


def test_every_guarantee_is_tested_on_every_server() -> None:
    tests = _collected()
    servers = [binary.id for binary in find_binaries()]

    missing = [
        f"G{number} on {server} (a test named test_g{number}_... that uses the fixture `server`)"
        for number in _GUARANTEES
        for server in servers
        if not any(_covers(test, number, server) for test in tests)
    ]

    assert not missing, "guarantees without a test:\n" + "\n".join(missing)


def _covers(test: str, number: int, server: str) -> bool:
    name, _, parameters = test.rpartition("::")[2].partition("[")
    in_name = re.search(rf"_g{number}_", name) is not None
    return in_name and re.search(rf"(^|-){re.escape(server)}(-|\]$)", parameters) is not None


def _collected() -> list[str]:
    folder = Path(__file__).parent
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:xdist"]
    command += ["-p", "no:cacheprovider", str(folder)]
    done = subprocess.run(command, cwd=folder.parent, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"the tests cannot be collected:\n{done.stdout}{done.stderr}"
    return [line for line in done.stdout.splitlines() if "::" in line]
