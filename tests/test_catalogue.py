"""Every row of the fault catalogue has a test named after it, on every server found."""

from __future__ import annotations

import re

from tests import catalogue
from tests.support.collected import missing_tests

_COUNTS = {"A": 18, "B": 17, "C": 9}


def test_every_row_of_the_catalogue_is_tested_on_every_server() -> None:
    rows = re.findall(r"^    ([A-Z]\d+) ", catalogue.__doc__ or "", re.MULTILINE)
    expected = [f"{kind}{n}" for kind, count in _COUNTS.items() for n in range(1, count + 1)]
    assert rows == expected

    missing = missing_tests(f"row_{row.lower()}" for row in rows)

    assert not missing, "rows without a test:\n" + "\n".join(missing)
