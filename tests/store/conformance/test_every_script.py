"""What holds for every script: which keys it writes, and what keeps it from writing halves."""

from __future__ import annotations

import re

import pytest
from redis.exceptions import ResponseError

from consumers.store.scripts import Call
from tests.store.conformance.row import (
    AS_USUAL,
    DOOR,
    Reply,
    Row,
    key_named,
    keys_named,
    plain,
    shape,
    somebody_elses,
    written,
)
from tests.store.conformance.table import TABLE
from tests.support.keyspace import is_ours, may_stay
from tests.support.queue import Queue, full_memory
from tests.support.script_files import all_names, header
from tests.support.servers import RedisServer

EVERY = pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
BATCHES = [row for row in TABLE if row.is_batch]
_NUMBERS = {"two": 2, "three": 3, "four": 4, "eight": 8, "nine": 9}


def check(
    queue: Queue, row: Row, call: Call, reply: Reply = AS_USUAL, foreign: str = ""
) -> set[str]:
    """See that a call answers and writes what the reply says; return the keys it has written."""
    before, where = queue.snapshot(), f"with a foreign value in place of {foreign or 'no key'}"
    wait_for_another_time(queue)
    if reply.error:
        with pytest.raises(ResponseError, match=reply.error):
            queue.run(call)
    else:
        assert plain(queue.run(call)) == row.answers(reply, foreign), where
    keys = written(before, queue.snapshot())
    stays = set() if reply.replaces else {foreign}
    expected = keys_named(queue.keys, row.written(reply)) - stays
    assert keys - of_a_refused_batch(queue, row, reply) == expected, where
    return keys


def wait_for_another_time(queue: Queue) -> None:
    """A time that is written again within its millisecond would look as if it was not."""
    began = queue.now_ms()
    while queue.now_ms() == began:
        pass


def of_a_refused_batch(queue: Queue, row: Row, reply: Reply) -> set[str]:
    """Return where a batch that adds nothing may say so: to its writer, and in the counters."""
    refused = row.is_batch and reply.writes == "" and not reply.error
    return keys_named(queue.keys, {DOOR, "stats"}) if refused else set()


def afresh(queue: Queue) -> Queue:
    """Return the queue as it was before anything was called."""
    queue.redis.flushall()
    return Queue(queue.redis)


def check_repeated(queue: Queue, row: Row, batch: Call) -> None:
    after = queue.snapshot()
    assert plain(queue.run(batch)) == row.answer
    assert queue.snapshot() == after


def in_full_memory(row: Row, server: RedisServer) -> Reply:
    """Return what becomes of a row's call in full memory, on a server of this version."""
    old = row.in_full_memory_of_6_2 if server.version < (7, 0) else None
    return row.in_full_memory if old is None else old


def check_number(what: str, count: int, text: str) -> None:
    """See that a header names as many keys or arguments as there are, the last for many others."""
    found = re.findall(rf"^-- {what}\[(\d+)(…?)\]", text, re.MULTILINE)
    if not found:
        assert re.search(rf"^-- {what} ", text, re.MULTILINE)
        return
    last, is_first_of_many = int(found[-1][0]), bool(found[-1][1])
    if not is_first_of_many:
        assert count == last
        return
    assert count >= last - 1
    each = re.search(rf"{what}\[\d+…\] +(\w+) an? \w+", text)
    if each is not None and each[1] in _NUMBERS and "then by kind" not in text:
        assert (count - last + 1) % _NUMBERS[each[1]] == 0


def test_every_script_has_a_row_and_the_rows_differ() -> None:
    assert {row.script for row in TABLE} == all_names()
    assert len({row.name for row in TABLE}) == len(TABLE)


@EVERY
def test_a_script_writes_the_keys_of_its_row_and_no_others(queue: Queue, row: Row) -> None:
    call = row.prepare(queue)

    keys = check(queue, row, call)

    assert call.script.name == row.script
    # With other keys the script could not be called on a cluster.
    assert all(key.startswith(queue.keys.base) or key in call.keys for key in keys)
    assert all(is_ours(key) for key in keys)
    assert all(may_stay(key) for key in keys if queue.redis.pttl(key) == -1)
    assert {*call.keys, *keys} <= keys_named(queue.keys, set(row.foreign))


@EVERY
def test_a_foreign_value_in_place_of_a_key_does_what_the_row_says(queue: Queue, row: Row) -> None:
    for name, reply in row.foreign.items():
        queue = afresh(queue)
        call, key = row.prepare(queue), key_named(queue.keys, name)

        with somebody_elses(queue.redis, key):
            keys = check(queue, row, call, reply, key)

        if not keys - of_a_refused_batch(queue, row, reply):
            check(queue, row, call if reply.error else row.again(queue, call))


@EVERY
def test_g12_in_full_memory_a_script_does_all_or_nothing(
    queue: Queue, row: Row, server: RedisServer
) -> None:
    check(queue, row, row.prepare(queue))
    usual = shape(queue.snapshot())
    queue = afresh(queue)
    call, reply = row.prepare(queue), in_full_memory(row, server)

    with full_memory(queue.redis):
        keys = check(queue, row, call, reply)
        if row.is_batch and not reply.error:
            check_repeated(queue, row, call)

    if reply.error:
        check(queue, row, call)
    if keys or reply.error:
        assert shape(queue.snapshot()) == usual


@pytest.mark.parametrize("row", BATCHES, ids=lambda row: row.name)
def test_g4_a_repeated_batch_answers_alike_and_changes_nothing(queue: Queue, row: Row) -> None:
    call = row.prepare(queue)
    check(queue, row, call)

    check_repeated(queue, row, call)


@EVERY
def test_a_script_that_redis_forgot_does_the_same(queue: Queue, row: Row) -> None:
    call = row.prepare(queue)
    queue.redis.script_flush()

    check(queue, row, call)

    assert queue.redis.script_exists(call.script.sha) == [True]


@EVERY
def test_the_header_of_a_script_counts_its_keys_and_arguments(queue: Queue, row: Row) -> None:
    call, text = row.prepare(queue), header(row.script)

    assert row.is_batch == bool(re.search(r"KEYS\[1\] +the writer's door", text))
    check_number("KEYS", len(call.keys), text)
    check_number("ARGV", len(call.args), text)
