"""The benchmark runs: its figures are those of jobs that were done. None of them is judged."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.support.processes import A_WHOLE_RUN, Spawner

pytestmark = pytest.mark.timeout(2 * A_WHOLE_RUN)

JOBS = 1_000
# With fewer, 256 slots are done before a second look.
MANY_JOBS = 5_000


def test_a_quick_run_measures_our_drain_and_writes_what_it_found(
    spawn: Spawner, tmp_path: Path
) -> None:
    run = spawn.python(
        "-m", "benchmarks", "--quick", "--jobs", str(JOBS), "--out", str(tmp_path),
        "--workload", "drain-10", "--contender", "taskmanager",
    )  # fmt: skip

    assert run.wait(A_WHOLE_RUN) == 0, run.text
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["complete"]
    [drain] = results["workloads"]
    figures = drain["contenders"]["taskmanager"]
    assert figures["jobs"]["values"] == [JOBS]
    for name in ("jobs_per_s", "redis_us_per_job", "redis_commands_per_job", "wire_bytes_per_job"):
        assert figures[name]["median"] > 0
    assert "drain-10: no-op jobs, 10 slots" in run.text
    ElementTree.parse(tmp_path / "drains.svg")


def test_an_interrupted_run_shows_what_it_has_until_then(spawn: Spawner, tmp_path: Path) -> None:
    run = spawn.python(
        "-m", "benchmarks", "--rounds", "1000", "--jobs", str(JOBS), "--out", str(tmp_path),
        "--workload", "drain-10", "--contender", "taskmanager",
    )  # fmt: skip
    run.wait_for_line("round 1 .*jobs per s", within=A_WHOLE_RUN)

    run.interrupt()

    assert run.wait(A_WHOLE_RUN) == 130, run.text
    results = json.loads((tmp_path / "results.json").read_text())
    assert not results["complete"]
    assert results["measurements"][0]["outcome"] == "measured"
    assert "drain-10: no-op jobs, 10 slots" in run.text


def test_what_only_we_have_is_measured_as_well(spawn: Spawner, tmp_path: Path) -> None:
    wanted = {
        "priorities-10": "ten_to_one",
        "memory": "in_flight_bytes_per_job",
        "cold-start": "first_mark_ms",
        "delayed-1m": "jobs_per_s",
        "redis-cost": "single_settle_to_plain",
        "routes-drain": "routed_to_unrouted",
        "routes-read": "blocked_256_us_per_read",
    }
    named = [word for name in wanted for word in ("--workload", name)]
    run = spawn.python(
        "-m", "benchmarks", "--quick", "--jobs", str(MANY_JOBS), "--out", str(tmp_path),
        "--contender", "taskmanager", *named,
    )  # fmt: skip

    assert run.wait(A_WHOLE_RUN) == 0, run.text
    found = json.loads((tmp_path / "results.json").read_text())["workloads"]
    assert [it["name"] for it in found] == list(wanted)
    for workload, figure in zip(found, wanted.values(), strict=True):
        assert workload["contenders"]["taskmanager"][figure]["median"] > 0
    assert not (tmp_path / "drains.svg").exists()
    memory = found[1]["contenders"]["taskmanager"]
    small, padded = memory["waiting_bytes_per_job"], memory["waiting_100_bytes_per_job"]
    assert padded["median"] - small["median"] > 80


def test_waits_are_measured_beside_the_ideal(spawn: Spawner, tmp_path: Path) -> None:
    run = spawn.python(
        "-m", "benchmarks", "--quick", "--jobs", "300", "--out", str(tmp_path),
        "--contender", "taskmanager", "--workload", "routing-llm",
    )  # fmt: skip

    assert run.wait(A_WHOLE_RUN) == 0, run.text
    [workload] = json.loads((tmp_path / "results.json").read_text())["workloads"]
    figures = workload["contenders"]["taskmanager"]
    for way in ("unrouted", "routed", "shortest", "two_choices"):
        assert figures[f"{way}_p99_ms"]["median"] > 0
    assert figures["two_choices_p99_to_routed"]["median"] > 0
    assert len(workload["goals"]) == 3
    assert "two choices p99 to routed at least 2.5" in run.text


def test_a_contender_that_fails_is_reported_with_its_last_words_and_the_exit_code(
    spawn: Spawner, tmp_path: Path
) -> None:
    # Its interpreter is there, but the program it is to run ends at once.
    run = spawn.python("-c", _WITH_A_BROKEN_CONTENDER, str(tmp_path))

    assert run.wait(A_WHOLE_RUN) == 1, run.text
    results = json.loads((tmp_path / "results.json").read_text())
    outcomes = [(it["contender"], it["outcome"]) for it in results["measurements"]]
    assert outcomes == [("broken", "failed"), ("taskmanager", "measured")]
    assert "drain-10, broken, round 1: emitting ended with exit code 1" in run.text
    assert "what it said last" in run.text


_WITH_A_BROKEN_CONTENDER = f"""
import sys
from pathlib import Path
import benchmarks.__main__ as it
from benchmarks.roster import Contender, roster
words = "raise SystemExit('what it said last')"
broken = Contender("broken", (sys.executable, "-c", words), Path(sys.executable), "click")
ours = [who for who in roster() if who.name == "taskmanager"]
it.roster = lambda: [broken, *ours]
it.main(["--quick", "--jobs", "{JOBS}", "--workload", "drain-10", "--out", sys.argv[1]])
"""
