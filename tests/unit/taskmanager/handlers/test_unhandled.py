"""An event that nobody here handles is said once, with the nearest name."""

from __future__ import annotations

import pytest

from taskmanager.handlers import unhandled
from taskmanager.handlers.unhandled import Unhandled

HANDLED = [("mail", "send-email"), ("default", "resize")]


def test_a_misspelt_emit_is_said_once_with_the_nearest_name(
    caplog: pytest.LogCaptureFixture,
) -> None:
    said = Unhandled(HANDLED)

    for _ in range(3):
        said.emitted("mail", "send-emial")

    (line,) = caplog.records
    assert line.levelname == "WARNING"
    assert line.getMessage() == (
        "event 'send-emial' was emitted to queue 'mail', but no handler for it is registered in "
        "this process (did you mean 'send-email'?); its jobs wait for a worker that has one"
    )


def test_an_emit_to_a_queue_without_handlers_here_says_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    Unhandled(HANDLED).emitted("elsewhere", "send-emial")

    assert caplog.records == []


def test_a_name_that_is_like_no_other_is_said_without_one(caplog: pytest.LogCaptureFixture) -> None:
    Unhandled(HANDLED).handed_on("mail", "xyz", deadline=3600)

    assert caplog.messages == [
        "this worker has no handler for event 'xyz' in queue 'mail'; its jobs wait up to 1 h for a "
        "worker that has one, then become dead letters"
    ]


def test_an_event_that_is_left_out_is_said_once_with_what_is_lacking(
    caplog: pytest.LogCaptureFixture,
) -> None:
    said = Unhandled(HANDLED)

    for _ in range(2):
        said.handed_on_lacking("mail", "send-email", ["gpu", "av1"], deadline=60)

    assert caplog.messages == [
        "this worker does not run event 'send-email' in queue 'mail', because it lacks gpu, av1; "
        "its jobs wait up to 60 s for a worker that has it, then become dead letters"
    ]


def test_names_without_end_are_not_kept_without_end(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unhandled, "_MOST_SAID", 10)
    said = Unhandled(HANDLED)

    for number in range(50):
        said.handed_on("mail", f"event-{number}", deadline=60)

    assert len(said._said) == 10
    assert len(caplog.messages) == 11
    assert "reported 10 events without a handler; further ones are not logged" in caplog.messages


def test_queues_without_handlers_here_use_up_nothing_that_is_said_of_others(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unhandled, "_MOST_SAID", 10)
    said = Unhandled(HANDLED)

    for number in range(50):
        said.emitted("elsewhere", f"event-{number}")
    said.may_come = lambda: True
    said.emitted("mail", "send-emial")
    said.may_come = lambda: False
    said.emitted("mail", "send-emial")

    assert len(caplog.messages) == 1


def test_the_nearest_of_many_long_names_is_not_looked_for(caplog: pytest.LogCaptureFixture) -> None:
    names = [("mail", f"{'x' * 100}{number}") for number in range(300)]

    Unhandled(names).emitted("mail", f"{'x' * 100}999")

    assert "did you mean" not in caplog.text
