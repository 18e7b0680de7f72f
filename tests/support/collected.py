"""Ask pytest which tests there are: some tests see to it that none is missing."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from tests.support.servers import Binary

_TESTS = Path(__file__).parents[1]


def all_tests(collected: Sequence[str]) -> Sequence[str]:
    """Return the ids of all tests: those collected in this run, if that was told to take all."""
    files = {test.partition("::")[0] for test in collected}
    below = {path.relative_to(_TESTS.parent).as_posix() for path in _TESTS.rglob("test_*.py")}
    return collected if files >= below else _collect()


def missing_tests(
    labels: Iterable[str], among: Sequence[str], *, on: Sequence[Binary] = ()
) -> list[str]:
    """Return what is missing for labels like g1 or row_a1, among the ids of all tests.

    Each needs a test that carries it between underscores in its name, on each of the servers.
    """
    return [
        f"{label} on {server} (a test named test_..._{label}_... that uses the fixture `server`)"
        for label in labels
        for server in [binary.id for binary in on] or [""]
        if not any(_covers(test, label, server) for test in among)
    ]


def _covers(test: str, label: str, server: str) -> bool:
    name, _, parameters = test.rpartition("::")[2].partition("[")
    # Guarantee G1 is not row G1 of the catalogue.
    if not re.search(rf"(?<!_row)_{label}_", name):
        return False
    return not server or re.search(rf"(^|-){re.escape(server)}(-|\]$)", parameters) is not None


def _collect() -> list[str]:
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-n", "0"]
    command += ["-p", "no:cacheprovider", str(_TESTS)]
    done = subprocess.run(command, cwd=_TESTS.parent, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"the tests cannot be collected:\n{done.stdout}{done.stderr}"
    return [line for line in done.stdout.splitlines() if "::" in line]
