"""A timer that is kept for reply after reply fails each in its own time."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from redis.exceptions import TimeoutError as ReplyTimeout

from consumers.store.scripts import ReplyTimer

PATIENCE = 10.0


class NoWire:
    """A connection on which everything is written."""

    refusal = ""

    def send(self, *args: object, **more: object) -> Any:
        raise NotImplementedError

    def withdraw(self, reply: asyncio.Future[Any]) -> bool:
        return False


def _reply() -> asyncio.Future[bytes]:
    return asyncio.get_running_loop().create_future()


def _soon(seconds: float = 0.05) -> float:
    return time.monotonic() + seconds


def _answered(timer: ReplyTimer, until: float) -> None:
    reply = _reply()
    timer.start(NoWire(), reply, until)
    reply.set_result(b"")
    timer.stop()


@pytest.mark.parametrize("first", [0.02, PATIENCE])
async def test_a_reply_fails_in_time_whatever_the_timer_was_armed_for_before(first: float) -> None:
    timer, reply, until = ReplyTimer(), _reply(), _soon()
    events = list[str]()
    # The loop calls what is due in the order of its times, even if it comes to them late.
    asyncio.get_running_loop().call_at(until - 0.01, events.append, "nearly time")
    reply.add_done_callback(lambda _: events.append("failed"))
    _answered(timer, _soon(first))

    timer.start(NoWire(), reply, until)

    with pytest.raises(ReplyTimeout):
        await asyncio.wait_for(reply, PATIENCE)
    assert events == ["nearly time", "failed"]
    timer.cancel()


async def test_it_leaves_a_reply_alone_that_has_come_or_that_nobody_waits_for() -> None:
    timer, left, later = ReplyTimer(), _reply(), _reply()
    timer.start(NoWire(), left, _soon(0.01))
    timer.stop()
    _answered(timer, _soon(0.01))

    timer.start(NoWire(), later, _soon(0.03))

    with pytest.raises(ReplyTimeout):
        await asyncio.wait_for(later, PATIENCE)
    assert not left.done()


async def test_it_is_not_armed_for_each_reply(monkeypatch: pytest.MonkeyPatch) -> None:
    loop, armed = asyncio.get_running_loop(), []
    call_at = loop.call_later
    monkeypatch.setattr(
        loop, "call_later", lambda *args, **more: armed.append(args) or call_at(*args, **more)
    )
    timer = ReplyTimer()

    for _ in range(100):
        _answered(timer, _soon(PATIENCE))

    assert len(armed) == 1
    timer.cancel()
