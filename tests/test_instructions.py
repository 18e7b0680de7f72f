"""Instructions of Redis per job are counted where valgrind is installed. None of them is judged."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmarks.callgrind import missing
from tests.support.processes import A_WHOLE_RUN, Spawner
from tests.support.servers import chosen

STEPS = [
    "emit, 500 together",
    "read, 256 together",
    "settle, 256 together",
    "emit, one",
    "settle, one",
    "a job, all steps together",
]


@pytest.mark.timeout(2 * A_WHOLE_RUN)
@pytest.mark.skipif(missing() != "", reason=missing())
def test_each_step_is_counted_beside_that_of_a_plain_loop(spawn: Spawner) -> None:
    server = chosen()[0]
    run = spawn.python(
        "-m", "benchmarks.instructions", "--rounds", "1", "--server", str(server.path)
    )

    assert run.wait(A_WHOLE_RUN) == 0, run.text
    assert f"instructions per job, {server.id}, {server.path}" in run.text
    for step in STEPS:
        found = re.search(rf"^{step} +([\d,]+) +([\d,]+) +[\d.]+$", run.text, re.MULTILINE)
        assert found, run.text
        ours, plain = (int(it.replace(",", "")) for it in found.groups())
        # Nothing takes less than a command does.
        assert ours > plain > 1_000


def test_where_valgrind_is_missing_that_is_said(spawn: Spawner, tmp_path: Path) -> None:
    run = spawn.python("-m", "benchmarks.instructions", env={"PATH": str(tmp_path)})

    assert run.wait(A_WHOLE_RUN) == 1
    assert run.text.strip() == (
        "Error: counting instructions needs valgrind: install it (Debian: apt install valgrind)"
    )
