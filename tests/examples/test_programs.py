"""The examples without a folder run on their own, and do what they say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.deployed import EXAMPLES
from tests.support.processes import A_WHOLE_RUN, Spawner

pytestmark = pytest.mark.timeout(2 * A_WHOLE_RUN)


def output_of(spawn: Spawner, name: str, folder: Path, *arguments: str) -> str:
    """Return what an example writes when it is run in an empty folder."""
    example = spawn.python(str(EXAMPLES / name), *arguments, cwd=folder)
    assert example.wait(within=A_WHOLE_RUN) == 0, example.text
    return example.text


def test_the_nightly_report_shows_when_it_fires_and_what_was_sold(
    spawn: Spawner, tmp_path: Path
) -> None:
    text = output_of(spawn, "nightly_report.py", tmp_path)

    # In the night in which clocks go forward it is three.
    assert len(re.findall(r"^  \w{3} \d\d \w{3} 20\d\d (02:30|03:00) \(", text, re.MULTILINE)) == 5
    assert re.search(r"^  coffee +12 sold +30\.00$", text, re.MULTILINE)
    assert re.search(r"^  tea +7 sold +14\.00$", text, re.MULTILINE)


def test_the_search_index_has_the_last_texts_after_few_updates(
    spawn: Spawner, tmp_path: Path
) -> None:
    text = output_of(spawn, "search_index.py", tmp_path)

    edits, part_of_another, updates = map(int, re.findall(r"^\d+", text, re.MULTILINE))
    assert edits == 300
    # Three on a machine that is quick enough; each edit has an update of its own or shares one.
    assert 3 <= updates == edits - part_of_another
    assert "draft  is in nothing" in text
    assert "beans  is in coffee\n" in text
    assert "water  is in coffee, soup, tea\n" in text


def test_the_fleet_runs_every_request_where_its_model_is_although_a_worker_is_killed(
    spawn: Spawner, tmp_path: Path
) -> None:
    text = output_of(spawn, "llm_fleet.py", tmp_path, "--minutes", "2")

    [requests] = re.findall(
        r"^(\d[\d,]*) requests in 2 s; chat-1 dies halfway$", text, re.MULTILINE
    )
    waits = re.findall(r"^(code|conversation) +([\d,]+)(?: +\d+ ms){3}$", text, re.MULTILINE)
    assert sum(map(_number, dict(waits).values())) == _number(requests)
    ran = {
        name: (_number(code), _number(conversation))
        for name, code, conversation in re.findall(
            r"^((?:code|chat|both)-\d) +(\S+) +(\S+)$", text, re.MULTILINE
        )
    }
    again = int(
        re.findall(r"^(\d+) requests ran on chat-1 when it was killed", text, re.MULTILINE)[0]
    )
    assert len(ran) == 8
    assert sum(map(sum, ran.values())) == _number(requests) + again
    assert all(ran[f"code-{number}"][1] == 0 for number in (1, 2))
    assert all(ran[f"chat-{number}"][0] == 0 for number in (1, 2, 3, 4))


def _number(shown: str) -> int:
    return 0 if shown == "-" else int(shown.replace(",", ""))
