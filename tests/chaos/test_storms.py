"""Whatever the nemesis does, nothing is lost, and no outcome is recorded twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.__main__ import hits
from tests.chaos.depth import BINARIES, SECONDS, SEEDS, SERVERS
from tests.chaos.found import FOUND
from tests.chaos.report import explanation, figures
from tests.chaos.rig import Plan, run
from tests.support.servers import Binary

pytestmark = pytest.mark.timeout(240)

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("binary", BINARIES, ids=lambda it: it.id)
def test_nothing_is_lost_in_a_storm(binary: Binary, seed: int, tmp_path: Path) -> None:
    result = run(Plan(binary, seed, SECONDS), tmp_path)

    print(figures(result), hits(result), sep="\n")
    assert not result.untimed, explanation(result)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("binary", BINARIES[-1:], ids=lambda it: it.id)
def test_with_its_data_redis_loses_no_more_than_what_it_held(
    binary: Binary, seed: int, tmp_path: Path
) -> None:
    result = run(Plan(binary, seed, SECONDS, "loss"), tmp_path)

    assert not result.untimed, explanation(result)
    # Found by what it has emitted in vain, and told by those who work for it.
    assert result.losses
    assert result.told["losses"]


@pytest.mark.parametrize("binary", SERVERS, ids=lambda it: it.id)
@pytest.mark.parametrize("name", FOUND)
def test_what_was_found_once_is_not_there_again(name: str, binary: Binary, tmp_path: Path) -> None:
    it = FOUND[name]

    result = run(Plan(binary, it.seed, it.seconds, it.profile, schedule=it.schedule), tmp_path)

    assert not result.untimed, explanation(result)


def test_what_was_found_has_a_test_of_its_own() -> None:
    for found in FOUND.values():
        path, _, test = found.tested_by.partition("::")
        assert f"def {test}(" in (ROOT / path).read_text()
