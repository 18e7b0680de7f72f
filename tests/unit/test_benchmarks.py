"""The parts of the benchmark that measure nothing: statistics, sizes, order, tables, chart."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner

from benchmarks.__main__ import main
from benchmarks.chart import Scale, chart, drains
from benchmarks.failures import Failed, Unable
from benchmarks.figures import named, percentiles
from benchmarks.goals import Goal
from benchmarks.machine import Machine
from benchmarks.marks import Marks, Moment
from benchmarks.meter import Reading, sessions_cpu_s
from benchmarks.report import number, progress, report, spread, table
from benchmarks.results import Measurement, Results
from benchmarks.roster import CONTENDERS, NODE_PEER, OURS, roster
from benchmarks.rounds import plan, rotated
from benchmarks.sizing import QUICK_JOBS, Sizes, Target
from benchmarks.spread import Spread, percentile
from benchmarks.workloads import WORKLOADS

KEY = ("noop-256", "somebody")
DRAIN = WORKLOADS["drain-256"]
LATENCY = WORKLOADS["latency-idle"]
MACHINE = Machine(
    "A <CPU>", 2, "Linux 6", "3.11", "redis-7", False, (0.5, 0.25, 0.125), {"taskiq": "1.0"}
)


def measured(who: str, number: int, workload: str = "drain-256", **figures: float) -> Measurement:
    return Measurement(workload, who, number, "measured", figures)


def results_of(*measurements: Measurement) -> Results:
    results = Results()
    for it in measurements:
        results.add(it)
    return results


# Statistics


def test_a_spread_has_the_median_and_both_ends() -> None:
    assert Spread.of([5.0, 1.0, 3.0]) == Spread(3.0, 1.0, 5.0, (5.0, 1.0, 3.0))
    assert Spread.of([1.0, 2.0]).median == 1.5


def test_nothing_has_no_spread_and_no_percentile() -> None:
    with pytest.raises(ValueError, match="at least one"):
        Spread.of([])
    with pytest.raises(ValueError, match="at least one"):
        percentile([], 0.5)


@pytest.mark.parametrize(
    ("share", "value"), [(0.5, 50), (0.99, 99), (0.999, 100), (1.0, 100), (0.07, 7), (0.0, 1)]
)
def test_a_percentile_is_the_value_that_so_many_do_not_exceed(share: float, value: int) -> None:
    assert percentile(range(1, 101), share) == value


def test_percentiles_do_not_ask_for_an_order() -> None:
    assert percentiles([30, 10, 20]) == {"p50_us": 20, "p99_us": 30, "p99.9_us": 30, "max_us": 30}


def test_figures_of_variants_are_told_apart_by_a_prefix() -> None:
    assert named("ten", {"jobs_per_s": 1.0}) == {"ten_jobs_per_s": 1.0}


# Sizes


@pytest.mark.parametrize(
    ("rate", "jobs"), [(0, 1_000), (100, 1_000), (1_234, 3_700), (40_000, 120_000), (1e9, 200_000)]
)
def test_a_size_follows_the_rate_within_bounds(rate: float, jobs: int) -> None:
    assert Target(seconds=3.0).jobs(rate) == jobs


def test_a_size_is_calibrated_and_then_follows_each_measurement() -> None:
    sizes, target = Sizes(), Target(seconds=2.0)

    assert not sizes.knows(KEY)
    assert sizes.jobs(KEY, target) == 1_000
    sizes.learn(KEY, 5_000)
    assert sizes.knows(KEY)
    assert sizes.jobs(KEY, target) == 10_000
    sizes.learn(KEY, 2_000)
    assert sizes.jobs(KEY, target) == 4_000


def test_a_quick_run_is_not_calibrated() -> None:
    sizes = Sizes(quick=True)
    sizes.learn(KEY, 1_000_000)

    assert sizes.knows(("other", "other"))
    assert sizes.jobs(KEY, Target(seconds=3.0)) == QUICK_JOBS
    assert sizes.scaled(1_000_000, quick=7) == 7


def test_a_limit_of_jobs_holds_for_every_size() -> None:
    assert Sizes(most=50).jobs(KEY, Target(seconds=3.0)) == 50
    assert Sizes(most=50).scaled(1_000_000, quick=7) == 50
    assert Sizes(quick=True, most=50).scaled(1_000_000, quick=7) == 7


# Order


def test_each_round_has_every_measurement_once_and_another_contender_first() -> None:
    contenders = roster()

    planned = list(plan(3, [DRAIN, LATENCY], contenders))

    first = [who.name for number, it, who in planned if (number, it) == (1, DRAIN)]
    second = [who.name for number, it, who in planned if (number, it) == (2, DRAIN)]
    assert first == [who.name for who in contenders]
    assert second == [*first[1:], first[0]]
    assert set(Counter((n, it.name, who.name) for n, it, who in planned).values()) == {1}


def test_who_has_no_part_in_a_workload_is_not_planned_for_it() -> None:
    names = {who.name for _, _, who in plan(1, [WORKLOADS["idle"]], roster())}

    assert names == {OURS}
    assert "taskmanager-asyncio" not in {who.name for _, _, who in plan(1, [LATENCY], roster())}


def test_nothing_can_be_rotated() -> None:
    assert rotated([], 3) == []
    assert rotated("abc", 4) == ["b", "c", "a"]


# Marks and costs


def test_marks_are_counted_in_bytes_and_in_lines(tmp_path: Path) -> None:
    marks = Marks(tmp_path / "marks")
    marks.path.write_bytes(b"12\n7\n")

    assert (marks.bytes(), marks.lines(), marks.waits_us()) == (5, 2, [12, 7])
    marks.clear()
    assert marks.bytes() == 0


def test_waiting_for_marks_ends_at_the_deadline_with_what_there_is(tmp_path: Path) -> None:
    marks = Marks(tmp_path / "marks")
    marks.path.write_bytes(b"xx")

    assert marks.until(2, within=0.0, check=lambda: None).count == 2
    assert marks.until(3, within=0.0, check=lambda: None).count == 2


def test_waiting_for_marks_asks_whether_anybody_is_left(tmp_path: Path) -> None:
    def nobody() -> None:
        raise Failed("a worker process has ended by itself")

    with pytest.raises(Failed, match="ended by itself"):
        Marks(tmp_path / "marks").until(1, within=60.0, check=nobody)


def test_a_rate_counts_what_came_after_the_first_look() -> None:
    assert Moment(100, 10.0).rate_until(Moment(1_100, 12.0)) == 500


def test_what_was_over_at_the_first_look_has_no_rate() -> None:
    with pytest.raises(Failed, match="all 5 jobs were done at one look"):
        Moment(5, 10.0).rate_until(Moment(5, 10.1))


def test_costs_are_shared_among_the_jobs() -> None:
    before, after = Reading(1.0, 10, 1_000, 2.0), Reading(1.5, 60, 11_000, 3.0)

    assert before.costs_until(after, 100) == {
        "redis_us_per_job": 5_000,
        "redis_commands_per_job": 0.5,
        "wire_bytes_per_job": 100,
        "worker_us_per_job": 10_000,
    }


def test_costs_of_a_worker_are_left_out_where_they_cannot_be_read() -> None:
    costs = Reading(1.0, 10, 1_000).costs_until(Reading(1.5, 60, 11_000), 100)

    assert "worker_us_per_job" not in costs


# Comparison


def test_ours_is_compared_with_the_best_python_peer_and_with_node_round_by_round() -> None:
    results = results_of(
        measured(OURS, 1, jobs_per_s=1_000), measured(OURS, 2, jobs_per_s=3_000),
        measured("taskiq", 1, jobs_per_s=100), measured("taskiq", 2, jobs_per_s=200),
        measured("rq", 1, jobs_per_s=10), measured("rq", 2, jobs_per_s=10),
        measured(NODE_PEER, 2, jobs_per_s=500),
    )  # fmt: skip

    python, node = results.ratios(DRAIN, roster())

    assert (python.peer, python.spread.values) == ("taskiq", (10, 15))
    assert (node.peer, node.spread.values) == (NODE_PEER, (6,))


def test_ours_is_compared_with_each_peer_whose_core_is_not_python() -> None:
    results = results_of(
        measured(OURS, 1, jobs_per_s=100),
        *(measured(who.name, 1, jobs_per_s=10) for who in roster() if not who.ours),
    )

    compared = [it.peer for it in results.ratios(DRAIN, roster())]

    assert compared == ["taskiq", "chasquimq", "chasquimq-results", "ardiq", NODE_PEER]


def test_a_ratio_above_one_is_ours_also_where_less_is_better() -> None:
    results = results_of(
        measured(OURS, 1, LATENCY.name, p50_us=100),
        measured("taskiq", 1, LATENCY.name, p50_us=400),
        measured("arq", 1, LATENCY.name, p50_us=900),
    )

    [ratio] = results.ratios(LATENCY, roster())

    assert (ratio.peer, ratio.spread.median) == ("taskiq", 4)


def test_without_a_round_that_both_have_there_is_no_ratio() -> None:
    alone = results_of(measured(OURS, 1, jobs_per_s=1))
    apart = results_of(measured(OURS, 1, jobs_per_s=1), measured("rq", 2, jobs_per_s=1))

    assert alone.ratios(DRAIN, roster()) == []
    assert apart.ratios(DRAIN, roster()) == []


def test_who_is_unable_or_failed_twice_is_not_asked_again() -> None:
    results = results_of(
        Measurement("sync-10", "bullmq", 1, "unable", why="no threads"),
        Measurement("sync-10", "rq", 1, "failed", why="gone"),
    )

    assert results.gave_up("sync-10", "bullmq")
    assert not results.gave_up("sync-10", "rq")
    results.add(Measurement("sync-10", "rq", 2, "failed", why="gone"))
    assert results.gave_up("sync-10", "rq")
    assert not results.gave_up("drain-10", "rq")


def test_a_failure_has_the_last_words_and_a_refusal_the_last_line() -> None:
    failed = Failed("it ended", "\n".join(f"line {it}" for it in range(20)))

    assert str(failed).splitlines()[0] == "it ended"
    assert "line 19" in str(failed)
    assert "line 2\n" not in str(failed)
    assert str(Unable("noise\nno threads here\n")) == "no threads here"


# Tables


@pytest.mark.parametrize(
    ("value", "shown"), [(41_234.5, "41,234"), (99.94, "99.9"), (1.5, "1.50"), (0.0, "0.00")]
)
def test_numbers_are_shown_in_about_three_digits(value: float, shown: str) -> None:
    assert number(value) == shown


def test_a_spread_of_one_value_is_that_value() -> None:
    assert spread(Spread.of([2.0])) == "2.00"
    assert spread(Spread.of([2.0, 1.0, 4.0])) == "2.00 (1.00-4.00)"


def test_the_columns_of_a_table_stand_below_each_other() -> None:
    lines = table([["", "rate"], ["long name", "1"], ["x", "1,000"]]).splitlines()

    assert lines == [
        "            rate",
        "----------------",
        "long name      1",
        "x          1,000",
    ]


def test_a_report_has_the_machine_figures_ratios_and_failures() -> None:
    results = results_of(
        measured("taskiq", 1, jobs_per_s=100),
        measured(OURS, 1, jobs_per_s=1_000, worker_us_per_job=20),
        Measurement("drain-256", "rq", 1, "failed", why="it ended\n    last words"),
        Measurement("drain-256", "arq", 1, "unable", why="it has no such thing"),
    )

    shown = report(MACHINE, results, [DRAIN, LATENCY], roster())

    assert "A <CPU>, 2 cores, Linux 6" in shown
    assert "worker us per job" in shown
    assert shown.rindex("\ntaskmanager  ") < shown.rindex("\ntaskiq  ")
    assert "taskmanager is 10.0 times as good as taskiq" in shown
    assert "arq cannot: it has no such thing" in shown
    assert "failed measurements: 1\ndrain-256, rq, round 1: it ended\n    last words" in shown
    assert "each 20 ms\nno figures" in shown


def test_a_report_has_the_load_at_the_start_and_at_the_end() -> None:
    at_end = replace(MACHINE, load_at_end=(2.0, 1.5, 1.0))
    shown = report(at_end, Results(), [DRAIN], roster())

    assert "minutes): 0.50 0.25 0.12 at the start, 2.00 1.50 1.00 at the end" in shown
    assert at_end.as_json()["load_at_end"] == (2.0, 1.5, 1.0)
    assert MACHINE.lines()[-1].endswith("0.50 0.25 0.12 at the start")
    assert len(MACHINE.at_end().load_at_end) == 3


def test_a_report_says_which_goals_are_met() -> None:
    goals = (Goal("jobs_per_s", at_least=100), Goal("jobs_per_s", at_least=2_000))
    aimed = replace(DRAIN, goals=goals)
    results = results_of(measured(OURS, 1, jobs_per_s=1_000))

    shown = report(MACHINE, results, [aimed], roster())

    assert "\nmet: jobs per s at least 100\nNOT MET: jobs per s at least 2000" in shown
    [found] = results.as_json([aimed], roster())["workloads"]
    assert [it["is"] for it in found["goals"]] == ["met", "NOT MET"]


def test_progress_is_one_line_for_each_outcome() -> None:
    good = progress(measured(OURS, 1, jobs_per_s=1_000), DRAIN)
    bad = progress(Measurement("drain-256", "rq", 2, "failed", why="it ended\n    words"), DRAIN)

    assert good.endswith("1,000 jobs per s")
    assert bad.endswith("failed: it ended")


def test_the_json_has_all_measurements_and_their_spreads() -> None:
    results = results_of(
        measured(OURS, 1, jobs_per_s=10), measured(OURS, 2, jobs_per_s=30),
        measured("rq", 1, jobs_per_s=5), measured("rq", 2, jobs_per_s=5),
    )  # fmt: skip

    shown = results.as_json([DRAIN], roster())

    assert len(shown["measurements"]) == 4
    [drain] = shown["workloads"]
    assert drain["contenders"][OURS]["jobs_per_s"] == {
        "median": 20, "min": 10, "max": 30, "values": [10, 30],
    }  # fmt: skip
    assert drain["ours_times_better_than"]["rq"]["median"] == 4


# Chart


def test_the_axis_holds_all_values_in_whole_decades() -> None:
    scale = Scale.over([440.0, 41_000.0])

    assert scale.decades() == [100, 1_000, 10_000, 100_000]
    assert scale.x(440) < scale.x(1_000) < scale.x(41_000) < scale.x(100_000)


def test_the_smallest_bar_has_a_length() -> None:
    scale = Scale.over([1_000.0, 2_000.0])

    assert scale.x(1_000) > scale.x(scale.low)


def test_the_chart_is_valid_xml_with_a_bar_a_figure() -> None:
    results = results_of(
        *(measured(OURS, n, slots, jobs_per_s=9_000 + n) for n in (1, 2) for slots in
          ("drain-10", "drain-64", "drain-256")),
        measured("taskiq", 1, "drain-10", jobs_per_s=90),
    )  # fmt: skip

    svg = chart(drains(results), title="a < b & c", subtitle="x", ours=frozenset({OURS}))

    root = ElementTree.fromstring(svg)
    texts = [it.text for it in root.iter("{http://www.w3.org/2000/svg}text")]
    ranges = [
        it for it in root.iter("{http://www.w3.org/2000/svg}line") if "range" in it.attrib["class"]
    ]
    assert len(ranges) == 4
    assert {"a < b & c", OURS, "taskiq", "9,002", "90", "256 slots"} <= set(texts)


def test_the_fastest_stands_on_top_of_the_chart() -> None:
    results = results_of(
        measured("rq", 1, jobs_per_s=10), measured(OURS, 1, jobs_per_s=50),
        measured("taskiq", 1, jobs_per_s=20),
    )  # fmt: skip

    assert list(drains(results)) == [OURS, "taskiq", "rq"]


def test_a_run_without_drains_has_no_bars() -> None:
    assert drains(results_of(measured(OURS, 1, LATENCY.name, p50_us=1))) == {}


# Command line and contenders


def test_the_list_names_every_workload_and_contender() -> None:
    shown = CliRunner().invoke(main, ["--list"])

    assert shown.exit_code == 0
    words = shown.output.split()
    assert {*WORKLOADS, *(who.name for who in roster())} <= set(words)


def test_what_is_no_server_is_refused() -> None:
    shown = CliRunner().invoke(main, ["--server", sys.executable])

    assert shown.exit_code == 2
    assert "is no redis-server that runs" in shown.output


def test_a_peer_that_is_not_installed_is_refused_when_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("benchmarks.__main__.roster", lambda: roster(tmp_path))

    shown = CliRunner().invoke(main, ["--contender", "rq"])

    assert shown.exit_code == 2
    assert "not installed: rq (make bench-peers installs all)" in shown.output


def test_the_cpu_of_a_session_is_that_of_all_its_processes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("benchmarks.meter._PROC", tmp_path)
    second = os.sysconf("SC_CLK_TCK")
    # The ticks: user, system, and both of children that ended.
    for pid, session, ticks in [
        (10, 10, (1, 2, 4, 8)), (11, 10, (16, 0, 0, 0)), (12, 12, (32, 0, 0, 0)),
    ]:  # fmt: skip
        (tmp_path / str(pid)).mkdir()
        spent = " ".join(str(it * second) for it in ticks)
        # A name may hold anything.
        stat = f"{pid} (a) b ( c) S 1 {pid} {session} 0 -1 0 0 0 0 0 {spent} 20 0 1 0\n"
        (tmp_path / str(pid) / "stat").write_text(stat)

    assert sessions_cpu_s({10}) == 31
    assert sessions_cpu_s({10, 12}) == 63
    assert sessions_cpu_s(set()) == 0


def test_the_cpu_of_this_session_is_found_where_the_system_tells_it() -> None:
    if not Path("/proc").is_dir():
        assert sessions_cpu_s({os.getsid(0)}) is None
    else:
        assert (sessions_cpu_s({os.getsid(0)}) or 0) > 0


# Payloads


@pytest.mark.parametrize("number", [0, 7, 12_345])
def test_a_padded_payload_has_its_size_as_json_whatever_its_number(number: int) -> None:
    ask = f"import json, payloads; print(json.dumps(payloads.payload({number})))"
    said = subprocess.run(
        [sys.executable, "-c", ask], env={"PYTHONPATH": str(CONTENDERS), "BENCH_PADDING": "100"},
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip

    payload = json.loads(said)
    assert payload["n"] == number
    assert len(json.dumps(payload, separators=(",", ":"))) == 100
