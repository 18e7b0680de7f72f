"""Every row of the fault catalogue has a test named after it, which a real server answers."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tests import catalogue
from tests.support.collected import missing_tests
from tests.support.servers import chosen

_ROWS = [
    *(f"A{n}" for n in range(1, 19)),
    *(f"B{n}" for n in range(1, 18)),
    *(f"C{n}" for n in range(1, 10)),
    *(f"E{n}" for n in range(4, 12)),
    *(f"G{n}" for n in (1, 2, 3, 4, 5, 8, 9)),
]
# What clocks show is computed without a server.
_PURE = {"E4", "E5", "E6", "E7"}


def test_every_row_of_the_catalogue_is_tested_on_a_server(all_tests: Sequence[str]) -> None:
    rows = re.findall(r"^    ([A-Z]\d+) ", catalogue.__doc__ or "", re.MULTILINE)
    assert rows == _ROWS

    on_servers = (f"row_{row.lower()}" for row in rows if row not in _PURE)
    missing = missing_tests(on_servers, all_tests, on=chosen()[:1])
    missing += missing_tests([f"row_{row.lower()}" for row in _PURE], all_tests)

    assert not missing, "rows without a test:\n" + "\n".join(missing)
