"""A producer on a connection that answers when the test says so: how many turns an emit takes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from redis.exceptions import ConnectionError, ResponseError

from consumers.connections.connector import Connector
from consumers.connections.link import Argument
from consumers.connections.wire import Receiver
from consumers.emit.producer import Producer
from consumers.errors import BrokenKey, RedisUnavailable
from consumers.jobs.envelope import NewJob
from consumers.jobs.lanes import Lane
from tests.support.waiting import aeventually


class Hand:
    """In place of a wire: the commands of a producer, which are answered by hand."""

    refusal = ""

    def __init__(self) -> None:
        self.under_way: list[Receiver] = []

    def post(self, receiver: Receiver, args: Sequence[Argument], **more: Any) -> None:
        self.under_way.append(receiver)

    def send(self, *args: Argument) -> asyncio.Future[Any]:
        # The listing of the queue, the search for a broken key: never answered.
        return asyncio.get_running_loop().create_future()

    def withdraw(self, reply: Receiver) -> bool:
        return False

    def stop_connecting(self) -> None:
        pass

    async def close(self) -> None:
        pass

    def answer(self, reply: bytes | Exception) -> None:
        receiver = self.under_way.pop(0)
        if isinstance(reply, Exception):
            receiver.set_exception(reply)
        else:
            receiver.set_result(reply)


@pytest.fixture
async def hand() -> Hand:
    return Hand()


@pytest.fixture
async def producer(hand: Hand) -> Producer:
    producer = Producer(Connector.of("redis://localhost"))
    producer.wire = hand  # type: ignore[assignment]
    return producer


def job(job_id: str) -> NewJob:
    return NewJob(job_id, "work", b"{}", Lane("default"))


async def turn() -> None:
    await asyncio.sleep(0)


async def test_the_emits_of_one_turn_leave_together_with_the_next(
    producer: Producer, hand: Hand
) -> None:
    emits = [producer.emit(job(it)) for it in "abc"]
    assert not hand.under_way

    await turn()

    hand.answer(b"+1 +2 +3")
    assert [it.result().run for it in emits] == [1, 2, 3]
    assert not hand.under_way


async def test_an_emit_is_answered_and_the_next_leaves_where_the_reply_is_read(
    producer: Producer, hand: Hand
) -> None:
    first = producer.emit(job("a"))
    await turn()
    others = [producer.emit(job(it)) for it in "bc"]
    await turn()
    assert len(hand.under_way) == 1

    hand.answer(b"+1")

    assert first.result().run == 1
    assert len(hand.under_way) == 1
    hand.answer(b"+2 +3")
    assert [it.result().run for it in others] == [2, 3]


async def test_nothing_is_sent_where_the_loss_of_a_connection_is_noticed(
    producer: Producer, hand: Hand
) -> None:
    emit = producer.emit(job("a"))
    await turn()

    hand.answer(ConnectionError("lost"))
    assert not hand.under_way

    await aeventually(lambda: hand.under_way)
    hand.answer(b"+1")
    assert emit.result().run == 1


async def test_the_end_of_the_loop_ends_what_is_under_way_and_what_waits(
    producer: Producer, hand: Hand
) -> None:
    emits = [producer.emit(job("a"))]
    await turn()
    emits.append(producer.emit(job("b")))

    await producer._ending.aclose()

    for emit in emits:
        with pytest.raises(RedisUnavailable, match="the event loop ended first"):
            await emit
    # A reply that comes now is nobody's.
    assert hand.under_way[0].done()
    await producer.flush()


async def test_a_search_for_the_broken_key_that_is_cut_off_ends_with_all_that_is_known(
    producer: Producer, hand: Hand
) -> None:
    others, emit = asyncio.all_tasks(), producer.emit(job("a"))
    await turn()
    hand.answer(ResponseError("WRONGTYPE Operation against a key"))
    for task in await aeventually(lambda: asyncio.all_tasks() - others):
        task.cancel()

    with pytest.raises(BrokenKey) as broken:
        await emit
    assert broken.value.key == "tm:{default}:*"


async def test_a_flush_waits_for_what_is_about_to_leave(producer: Producer, hand: Hand) -> None:
    emit = producer.emit(job("a"))
    flushing = asyncio.ensure_future(producer.flush())
    await aeventually(lambda: hand.under_way)
    assert not flushing.done()

    hand.answer(b"+1")

    await flushing
    assert emit.done()


async def test_who_is_interrupted_while_an_answer_is_told_keeps_no_later_emit_from_its_own(
    producer: Producer, hand: Hand
) -> None:
    def interrupt(job: NewJob, answer: object) -> None:
        raise KeyboardInterrupt

    producer.on_dropped = interrupt
    first = producer.emit(job("a"))
    await turn()
    waiting = producer.emit(job("b"))

    with pytest.raises(KeyboardInterrupt):
        hand.answer(b"=1")
    await turn()

    with pytest.raises(RedisUnavailable, match="it was interrupted"):
        await first
    hand.answer(b"+2")
    assert (await waiting).run == 2
    last = producer.emit(job("c"))
    await turn()
    hand.answer(b"+3")
    await producer.flush()
    assert (await last).run == 3


async def test_who_is_interrupted_while_a_batch_is_sent_keeps_no_later_emit_from_its_answer(
    producer: Producer, hand: Hand, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = producer.emit(job("a"))
    await turn()
    waiting = producer.emit(job("b"))

    def interrupt(*args: object, **more: object) -> None:
        monkeypatch.undo()
        raise KeyboardInterrupt

    monkeypatch.setattr(hand, "post", interrupt)
    with pytest.raises(KeyboardInterrupt):
        hand.answer(b"+1")
    await turn()

    assert (await first).run == 1
    # Nobody knows whether it was written: it ends as unknown, and the next one goes on.
    last = producer.emit(job("c"))
    with pytest.raises(RedisUnavailable, match="it was interrupted"):
        await waiting
    await turn()
    hand.answer(b"+3")
    assert (await last).run == 3
