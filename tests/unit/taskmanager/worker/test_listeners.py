"""Several that hear of outcomes, of which one fails."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest

from consumers.store.settling import Settled, Settlement
from taskmanager.worker.listeners import Listeners


class Heard:
    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error
        self.batches: list[Sequence[Settled]] = []

    def settled_many(self, settled: Sequence[Settled]) -> None:
        self.batches.append(settled)
        if self.error is not None:
            raise self.error


def test_a_failure_has_the_name_of_the_listener_and_keeps_it_from_no_other(
    caplog: pytest.LogCaptureFixture,
) -> None:
    settlement: Any = SimpleNamespace(delivery=SimpleNamespace(envelope=SimpleNamespace(id="a")))
    batch = [Settled(cast("Settlement", settlement), True)] * 3
    debounce, telemetry = Heard(SystemExit("x")), Heard(KeyError("y"))

    Listeners({"debounce": debounce, "telemetry": telemetry}).settled_many(batch)

    assert debounce.batches == telemetry.batches == [batch]
    assert caplog.messages == [
        "debounce failed for job a and 2 more",
        "telemetry failed for job a and 2 more",
    ]
    assert all(record.exc_info for record in caplog.records)
