"""Every item of the documents has a test that carries its number, on a real server."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tests import documents
from tests.support.collected import missing_tests
from tests.support.servers import chosen

_ITEMS = [str(number) for number in range(235, 273)]


def test_every_item_of_the_documents_is_tested_on_a_server(all_tests: Sequence[str]) -> None:
    items = re.findall(r"^    (\d+)  \S", documents.__doc__ or "", re.MULTILINE)
    assert items == _ITEMS

    theirs = [test for test in all_tests if "tests/documents/" in test]
    missing = missing_tests(items, theirs, on=chosen()[:1])

    assert not missing, "items without a test:\n" + "\n".join(missing)
