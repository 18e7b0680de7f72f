"""Trouble: an outage and each refusal are said once, until it is over."""

from __future__ import annotations

import logging

import pytest
from redis.exceptions import ConnectionError, ResponseError, TimeoutError

from consumers.connections.trouble import Trouble
from consumers.connections.wire import NotSent
from consumers.errors import TaskManagerError

logger = logging.getLogger("test.trouble")


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.DEBUG, logger=logger.name)
    return caplog


def levels(said: pytest.LogCaptureFixture) -> list[str]:
    return [record.levelname for record in said.records]


def test_an_outage_is_said_once_whatever_its_wording(said: pytest.LogCaptureFixture) -> None:
    trouble = Trouble(logger, "it waits")

    for error in (ConnectionError("refused"), TimeoutError("silent"), NotSent("no connection")):
        trouble.say(error)

    assert levels(said) == ["WARNING", "DEBUG", "DEBUG"]
    assert said.messages[0] == "it waits: refused"


def test_another_refusal_is_said_and_the_same_is_not_said_again(
    said: pytest.LogCaptureFixture,
) -> None:
    trouble = Trouble(logger, "it waits")
    one, other = ResponseError("may not EVALSHA"), ResponseError("may not XADD")

    for error in (one, other, one, ConnectionError("refused"), other, one):
        trouble.say(error)

    assert levels(said) == ["WARNING", "WARNING", "DEBUG", "WARNING", "DEBUG", "DEBUG"]


def test_when_it_was_over_the_same_is_said_again(said: pytest.LogCaptureFixture) -> None:
    trouble = Trouble(logger, "it waits")

    trouble.say(ResponseError("may not"))
    trouble.over()
    trouble.say(ResponseError("may not"))

    assert levels(said) == ["WARNING", "WARNING"]


def test_any_error_may_be_said_at_the_level_that_was_given(
    said: pytest.LogCaptureFixture,
) -> None:
    trouble = Trouble(logger, "it waits", logging.ERROR)

    trouble.say(TaskManagerError("may not"))
    trouble.say(TaskManagerError("may not"))

    assert levels(said) == ["ERROR", "DEBUG"]


def test_texts_that_are_never_the_same_are_not_kept_without_end(
    said: pytest.LogCaptureFixture,
) -> None:
    trouble = Trouble(logger, "it waits")

    for number in range(1000):
        trouble.say(ResponseError(f"refused for the {number}th time"))

    assert len(trouble._said) <= 100
