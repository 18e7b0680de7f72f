"""Whatever the nemesis does, nothing is lost, and no outcome is recorded twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.checks import counts
from tests.chaos.depth import BINARIES, SECONDS, SEEDS
from tests.chaos.report import explanation, figures
from tests.chaos.rig import Plan, run
from tests.support.servers import Binary

pytestmark = pytest.mark.timeout(240)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("binary", BINARIES, ids=lambda it: it.id)
def test_nothing_is_lost_in_a_storm(binary: Binary, seed: int, tmp_path: Path) -> None:
    result = run(Plan(binary, seed, SECONDS), tmp_path)

    print(figures(result))
    assert not result.violations, explanation(result)
    assert counts(result.history)["jobs"] > 20 * SECONDS


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("binary", BINARIES[-1:], ids=lambda it: it.id)
def test_with_its_data_redis_loses_no_more_than_what_it_held(
    binary: Binary, seed: int, tmp_path: Path
) -> None:
    result = run(Plan(binary, seed, SECONDS, "loss"), tmp_path)

    assert not result.violations, explanation(result)
    assert result.losses
