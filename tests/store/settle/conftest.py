"""Outcomes of every kind."""

from __future__ import annotations

import pytest

from tests.store.settle.outcomes import OUTCOMES


@pytest.fixture(params=OUTCOMES)
def kind(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name
