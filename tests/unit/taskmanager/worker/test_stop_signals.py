"""Signal handlers belong to the application: what a run replaced is as before when it is over."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from typing import Any

import pytest

from taskmanager.worker import stop_signals

BOTH = (signal.SIGTERM, signal.SIGINT)


def own(number: int, frame: object) -> None:
    """What the application does at a signal."""


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in BOTH}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", BOTH)
async def test_the_handler_of_before_is_put_back(number: signal.Signals) -> None:
    signal.signal(number, own)

    with stop_signals.handled(lambda: None):
        assert signal.getsignal(number) is not own

    assert signal.getsignal(number) is own


@pytest.mark.parametrize("number", BOTH)
async def test_a_handler_that_the_application_sets_meanwhile_stays(number: signal.Signals) -> None:
    with stop_signals.handled(lambda: None):
        signal.signal(number, own)

    assert signal.getsignal(number) is own


async def test_a_handler_that_is_not_pythons_and_cannot_be_put_back_is_no_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A server that embeds Python, and handles signals before it does."""
    real = signal.signal

    def not_pythons(number: int, handler: Any) -> None:
        real(number, handler)

    with monkeypatch.context() as patched:
        patched.setattr(signal, "signal", not_pythons)
        with stop_signals.handled(lambda: None):
            pass
