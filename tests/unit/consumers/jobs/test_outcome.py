"""What an outcome says is bounded, whoever makes it."""

from __future__ import annotations

import pytest

from consumers.jobs.outcome import REASON_LIMIT, Buried, Cancelled
from consumers.jobs.texts import ERROR_LIMIT


@pytest.mark.parametrize("text", ["no", "x" * 50_000_000, "é" * 40_000])
def test_a_reason_and_an_error_are_kept_whole_or_cut_to_their_bound(text: str) -> None:
    """A reason of 50 MB was stored and told to everybody who waited."""
    cancelled, buried = Cancelled(text).reason, Buried("failed", text).error

    assert len(cancelled.encode()) <= REASON_LIMIT
    assert len(buried.encode()) <= ERROR_LIMIT
    assert (cancelled == buried == text) is (text == "no")
    assert cancelled[:1] == cancelled[-1:] == text[:1] or text == "no"
