"""The door over a real connection that breaks: each batch is applied once and answered rightly."""

from __future__ import annotations

import asyncio
import math
import os
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from functools import partial
from typing import Any

import pytest
import redis as redis_py
from redis._parsers import BaseParser
from redis.exceptions import ConnectionError, ResponseError

from consumers.connections.connector import Connector
from consumers.connections.link import Argument
from consumers.connections.wire import Receiver, Wire
from consumers.errors import (
    BrokenKey,
    LayoutMismatch,
    RedisUnavailable,
    TaskManagerError,
    WriterRefused,
)
from consumers.jobs.envelope import NewJob
from consumers.jobs.outcome import Completed
from consumers.store import emitting, settling
from consumers.store.delivery import Delivery
from consumers.store.door import Door, writer_id
from consumers.store.keys import Keys
from consumers.store.scripts import Call
from consumers.store.settling import Settlement
from tests.support.proxy import FaultProxy
from tests.support.queue import ME, RESULT_TTL_MS, Queue, foreign_value, full_memory, new_job
from tests.support.scripts import engine_scripts
from tests.support.servers import RedisServer
from tests.support.waiting import PATIENCE, aeventually

KEYS = Keys("default")


@pytest.fixture
def queue(redis: redis_py.Redis) -> Queue:
    queue = Queue(redis)
    # The scripts are known, so that a batch is one EVALSHA.
    for script in engine_scripts():
        redis.script_load(script.source)
    return queue


@pytest.fixture
def proxy(server: RedisServer) -> Iterator[FaultProxy]:
    with FaultProxy(server.port) as proxy:
        yield proxy


@pytest.fixture
async def wire(proxy: FaultProxy) -> AsyncIterator[Wire]:
    wire = Wire(Connector.of(proxy.url), name="door", reply_timeout=0.5)
    yield wire
    await wire.close()


@pytest.fixture
async def door(wire: Wire) -> Door:
    return Door(wire, KEYS, where="here")


def emit_of(*jobs: NewJob) -> Call:
    return emitting.emit_items(KEYS, jobs, depth=None)


def settle_of(*deliveries: Delivery) -> Call:
    settlements = [Settlement(it, Completed(b"1"), [new_job("child")]) for it in deliveries]
    return settling.settle_items(KEYS, ME, RESULT_TTL_MS, settlements)


def soon(seconds: float = PATIENCE) -> float:
    return time.monotonic() + seconds


def doors(queue: Queue) -> list[str]:
    return [key.decode() for key in queue.redis.scan_iter(f"{KEYS.base}prod:*")]


class BreakingWire:
    """A wire whose first replies are replaced by errors, after or instead of what was asked."""

    def __init__(self, wire: Wire, *errors: Exception, executes: bool = False) -> None:
        self._wire = wire
        self._errors = list(errors)
        self._executes = executes
        self.asked = 0
        self.before_error: Callable[[], Any] = lambda: None

    def post(self, receiver: Receiver, args: Sequence[Argument], **more: Any) -> None:
        self.asked += 1
        answer = asyncio.ensure_future(self._answer(args, more))
        answer.add_done_callback(partial(_hand_on, receiver))

    async def _answer(self, args: Sequence[Argument], more: dict[str, Any]) -> Any:
        if not self._errors:
            return await self._asked(args, more)
        error = self._errors.pop(0)
        if self._executes:
            await self._asked(args, more)
        self.before_error()
        raise error

    def _asked(self, args: Sequence[Argument], more: dict[str, Any]) -> asyncio.Future[Any]:
        reply: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._wire.post(reply, args, **more)
        return reply


def _hand_on(receiver: Receiver, answer: asyncio.Task[Any]) -> None:
    error = answer.exception()
    if isinstance(error, Exception):
        receiver.set_exception(error)
    else:
        receiver.set_result(answer.result())


# Lost replies


async def test_g4_an_emit_whose_reply_is_lost_is_answered_rightly_and_applied_once(
    queue: Queue, proxy: FaultProxy, door: Door
) -> None:
    proxy.drop_reply("EVALSHA")

    answer = await door.send(emit_of(new_job("a"), new_job("b")), until=soon())

    assert answer == b"+1 +2"
    assert proxy.dropped == 1
    assert queue.ids() == ["a", "b"]
    assert queue.stat("emitted") == 2


async def test_g4_a_settle_whose_reply_is_lost_is_answered_rightly_and_applied_once(
    queue: Queue, proxy: FaultProxy, door: Door
) -> None:
    delivery = queue.one()
    proxy.drop_reply("EVALSHA")

    answer = await door.send(settle_of(delivery), until=math.inf)

    assert answer == b"1"
    assert proxy.dropped == 1
    assert (queue.stat("completed"), queue.stat("fenced")) == (1, 0)
    assert queue.ids() == ["child"]
    assert queue.end() == b"1 completed 1"


async def test_g4_many_lost_replies_in_a_row_change_nothing(
    queue: Queue, proxy: FaultProxy, door: Door
) -> None:
    proxy.drop_reply("EVALSHA", times=4)

    assert await door.send(emit_of(new_job("a")), until=soon()) == b"+1"

    assert proxy.dropped == 4
    assert queue.ids() == ["a"]


async def test_g4_the_reply_to_a_script_sent_as_text_may_be_lost_too(
    queue: Queue, proxy: FaultProxy, door: Door
) -> None:
    queue.redis.script_flush()
    proxy.drop_reply("EVAL")

    assert await door.send(emit_of(new_job("a")), until=soon()) == b"+1"

    assert (proxy.dropped, queue.ids()) == (1, ["a"])


async def test_g4_a_settle_is_repeated_until_redis_is_back(
    queue: Queue, proxy: FaultProxy, door: Door
) -> None:
    delivery = queue.one()
    proxy.refuse()
    settling = asyncio.ensure_future(door.send(settle_of(delivery), until=math.inf))
    # Some attempts have failed by then.
    await asyncio.sleep(0.2)
    assert not settling.done()

    proxy.pass_all()

    assert await settling == b"1"
    assert queue.stat("completed") == 1


async def test_batches_of_one_door_follow_each_other(queue: Queue, door: Door) -> None:
    answers = [await door.send(emit_of(new_job(it)), until=soon()) for it in "abc"]

    assert answers == [b"+1", b"+2", b"+3"]
    assert len(doors(queue)) == 1


async def test_the_scripts_may_be_flushed_between_batches(queue: Queue, door: Door) -> None:
    await door.send(emit_of(new_job("a")), until=soon())
    queue.redis.script_flush()

    assert await door.send(emit_of(new_job("b")), until=soon()) == b"+2"


# No answer


async def test_without_a_connection_the_outcome_is_that_nothing_was_sent(
    queue: Queue, proxy: FaultProxy, door: Door
) -> None:
    proxy.refuse()

    with pytest.raises(RedisUnavailable) as unavailable:
        await door.send(emit_of(new_job("a")), until=soon(1.0))

    assert unavailable.value.outcome == "not_sent"
    assert queue.snapshot() == {}


async def test_without_an_answer_the_outcome_is_unknown(
    queue: Queue, proxy: FaultProxy, door: Door
) -> None:
    proxy.drop_reply("EVALSHA", times=10_000)

    with pytest.raises(RedisUnavailable) as unavailable:
        await door.send(emit_of(new_job("a")), until=soon(1.0))

    assert unavailable.value.outcome == "unknown"
    assert queue.ids() == ["a"]


async def test_a_batch_given_up_is_not_mixed_up_with_the_next(
    queue: Queue, proxy: FaultProxy, door: Door
) -> None:
    proxy.drop_reply("EVALSHA", times=10_000)
    with pytest.raises(RedisUnavailable):
        await door.send(emit_of(new_job("a")), until=soon(1.0))
    proxy.pass_all()

    assert await door.send(emit_of(new_job("b")), until=soon()) == b"+2"
    assert await door.send(emit_of(new_job("a")), until=soon()) == b"=1"


# What Redis refuses for now


@pytest.mark.parametrize(
    "reply",
    [
        "LOADING Redis is loading the dataset in memory",
        "BUSY Redis is busy running a script. You can only call SCRIPT KILL.",
        "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
        "TRYAGAIN Multiple keys request during rehashing of slot",
        "CLUSTERDOWN The cluster is down",
        "READONLY You can't write against a read only replica.",
        "MISCONF Redis is configured to save RDB snapshots",
        "NOREPLICAS Not enough good replicas to write.",
        "Error running script (call to f_1): @user_script:1: @user_script: 1: -READONLY You can't",
    ],
    ids=lambda reply: reply.split(" ")[0],
)
async def test_what_redis_refuses_for_now_is_asked_again(
    queue: Queue, wire: Wire, reply: str
) -> None:
    breaking = BreakingWire(wire, BaseParser.parse_error(reply), BaseParser.parse_error(reply))
    door = Door(breaking, KEYS, where="here")  # type: ignore[arg-type]

    assert await door.send(emit_of(new_job("a")), until=soon()) == b"+1"

    assert breaking.asked == 3


async def test_a_refusal_that_lasts_says_that_nothing_was_stored(wire: Wire) -> None:
    replies = [BaseParser.parse_error("MASTERDOWN Link with MASTER is down") for _ in range(1000)]
    door = Door(BreakingWire(wire, *replies), KEYS, where="here")  # type: ignore[arg-type]

    with pytest.raises(RedisUnavailable) as unavailable:
        await door.send(emit_of(new_job("a")), until=soon(1.0))

    assert unavailable.value.outcome == "not_sent"


async def test_a_batch_waits_for_a_replica_to_become_the_master(queue: Queue, door: Door) -> None:
    queue.emit(new_job("before"))
    queue.redis.replicaof("127.0.0.1", "1")
    try:
        emitting = asyncio.ensure_future(door.send(emit_of(new_job("a")), until=soon()))
        errors = await aeventually(lambda: _refusals(queue))
        assert errors
        assert not emitting.done()
    finally:
        queue.redis.replicaof("NO", "ONE")

    assert (await emitting)[:1] == b"+"


def _refusals(queue: Queue) -> int:
    calls = queue.redis.info("commandstats").get("cmdstat_evalsha", {"calls": 0})["calls"]
    # The first call was the emit before.
    return max(0, int(calls) - 2)


# What stands in the way


async def test_g12_a_settle_goes_through_in_full_memory_although_its_reply_is_lost(
    queue: Queue, proxy: FaultProxy, door: Door
) -> None:
    delivery = queue.one()
    proxy.drop_reply("EVALSHA")

    with full_memory(queue.redis):
        assert await door.send(settle_of(delivery), until=math.inf) == b"1"

    assert proxy.dropped == 1
    assert queue.stat("completed") == 1


@pytest.mark.parametrize("name", ["meta", "lanes", "stats"])
async def test_a_foreign_value_is_named_by_its_key(queue: Queue, door: Door, name: str) -> None:
    key = getattr(KEYS, name)

    with foreign_value(queue.redis, key), pytest.raises(BrokenKey) as broken:
        await door.send(emit_of(new_job("a")), until=soon())

    assert broken.value.key == key
    assert await door.send(emit_of(new_job("a")), until=soon()) == b"+1"


async def test_a_foreign_value_in_place_of_the_door_is_named_by_its_key(
    queue: Queue, door: Door
) -> None:
    await door.send(emit_of(new_job("a")), until=soon())
    (key,) = doors(queue)

    with foreign_value(queue.redis, key), pytest.raises(BrokenKey) as broken:
        await door.send(emit_of(new_job("b")), until=soon())

    assert broken.value.key == key


async def test_a_connection_lost_while_the_foreign_key_is_looked_for_is_no_other_error(
    queue: Queue, proxy: FaultProxy, door: Door
) -> None:
    proxy.drop_reply("TYPE")

    with foreign_value(queue.redis, KEYS.meta), pytest.raises(TaskManagerError, match="type"):
        await door.send(emit_of(new_job("a")), until=soon())

    assert proxy.dropped == 1


async def test_a_queue_of_another_layout_is_told(queue: Queue, door: Door) -> None:
    queue.redis.hset(KEYS.meta, "layout", "2")

    with pytest.raises(LayoutMismatch, match="layout 2, but this version knows 1"):
        await door.send(emit_of(new_job("a")), until=soon())


async def test_any_other_refusal_is_told_in_the_words_of_redis(queue: Queue, door: Door) -> None:
    queue.redis.hset(KEYS.meta, "generation", "x")

    with pytest.raises(TaskManagerError, match=r"refused a batch: .*generation"):
        await door.send(emit_of(new_job("a")), until=soon())


# Writers


async def test_a_refused_writer_takes_a_new_id_and_its_batch_goes_through(
    queue: Queue, door: Door
) -> None:
    await door.send(emit_of(new_job("a")), until=soon())
    (key,) = doors(queue)
    queue.redis.set(key, "100 digest answer", keepttl=True)

    assert await door.send(emit_of(new_job("b")), until=soon()) == b"+2"
    assert await door.send(emit_of(new_job("c")), until=soon()) == b"+3"

    assert len(doors(queue)) == 2
    assert queue.redis.get(key) == b"100 digest answer"


async def test_a_writer_refused_after_a_lost_reply_does_not_send_the_batch_again(
    queue: Queue, wire: Wire
) -> None:
    breaking = BreakingWire(wire, ConnectionError("lost"), executes=True)
    breaking.before_error = lambda: queue.redis.set(
        doors(queue)[0], "100 digest answer", keepttl=True
    )
    door = Door(breaking, KEYS, where="here")  # type: ignore[arg-type]

    with pytest.raises(WriterRefused):
        await door.send(emit_of(new_job("a")), until=soon())

    assert queue.ids() == ["a"]
    assert await door.send(emit_of(new_job("b")), until=soon()) == b"+2"


def test_g4_a_forked_process_does_not_share_its_parents_writer(
    queue: Queue, server: RedisServer
) -> None:
    async def made() -> Door:
        return Door(Wire(Connector.of(server.url), name="forked"), KEYS, where="here")

    door = asyncio.run(made())
    batch = emit_of(new_job("a"))

    in_child = _answer_of_a_fork(lambda: asyncio.run(_send(door, batch)))
    in_parent = asyncio.run(_send(door, batch))

    # A shared writer would take the parent's batch for a repetition of the child's.
    assert (in_child, in_parent) == (b"+1", b"=1")
    assert len(doors(queue)) == 2


async def _send(door: Door, batch: Call) -> bytes:
    try:
        return await door.send(batch, until=soon())
    finally:
        await door._wire.close()


def _answer_of_a_fork(ask: Callable[[], bytes]) -> bytes:
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(write, ask())
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        answer = pipe.read()
    os.waitpid(child, 0)
    return answer


def test_g4_two_event_loops_do_not_share_a_writer() -> None:
    async def take() -> str:
        return writer_id()

    ids: list[str] = []
    threads = [threading.Thread(target=lambda: ids.append(asyncio.run(take()))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ids += [asyncio.run(take()), asyncio.run(take())]

    assert len(set(ids)) == 6


async def test_a_refused_number_of_another_writer_leaves_the_door_alone(
    queue: Queue, door: Door
) -> None:
    queue.emit(new_job("other"), writer="other", number=9)

    with pytest.raises(ResponseError, match="WRITERREFUSED"):
        queue.emit(new_job("late"), writer="other", number=8)

    assert await door.send(emit_of(new_job("a")), until=soon()) == b"+2"
