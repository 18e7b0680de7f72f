"""check_rights.lua on real Redis: what a user may not do is said before it is tried."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis as redis_py

from consumers.connections.connector import Connector
from consumers.connections.wire import Wire
from consumers.errors import TaskManagerError
from consumers.open import rights
from tests.support.queue import Queue, full_memory
from tests.support.servers import RedisServer


class User:
    """A Redis user with some rights only, and a wire of its own."""

    def __init__(self, server: RedisServer, admin: redis_py.Redis) -> None:
        self._server = server
        self._admin = admin

    def may(self, *rules: str) -> None:
        """Give the user these rights and no others."""
        self._admin.execute_command("ACL", "SETUSER", "worker", "reset", "on", ">pw", *rules)

    def wire(self) -> Wire:
        url = self._server.url.replace("redis://", "redis://worker:pw@")
        return Wire(Connector.of(url), name="preflight")


@pytest.fixture
def user(server: RedisServer, redis: redis_py.Redis) -> Iterator[User]:
    yield User(server, redis)
    redis.execute_command("ACL", "DELUSER", "worker")


async def check(user: User, queue: Queue) -> None:
    wire = user.wire()
    try:
        await rights.check_rights(wire, queue.keys)
    finally:
        await wire.close()


ALL_RIGHTS = ("~tm:*", "resetchannels", "&tm:*", "+@all")


async def test_a_user_with_all_rights_passes_and_nothing_is_written(
    queue: Queue, user: User
) -> None:
    user.may(*ALL_RIGHTS)

    await check(user, queue)

    assert queue.snapshot() == {}


async def test_a_user_passes_in_full_memory(queue: Queue, user: User) -> None:
    user.may(*ALL_RIGHTS)

    with full_memory(queue.redis):
        await check(user, queue)

    assert queue.snapshot() == {}


def _rule(command: str) -> str:
    return "-" + command.lower().replace(" ", "|")


@pytest.mark.parametrize("command", rights.commands())
async def test_a_command_the_user_may_not_run_is_named_and_nothing_is_written(
    queue: Queue, user: User, server: RedisServer, command: str
) -> None:
    if " " in command and server.version < (7, 0):
        # 6.2 can take away a whole command only.
        user.may(*ALL_RIGHTS, _rule(command.split(" ")[0]))
    else:
        user.may(*ALL_RIGHTS, _rule(command))

    with pytest.raises(TaskManagerError, match=rf"is not allowed to run .*\b{command}\b"):
        await check(user, queue)

    assert queue.snapshot() == {}


async def test_a_user_who_may_not_touch_the_queues_keys_is_told_so(
    queue: Queue, user: User
) -> None:
    user.may("~other:*", "+@all")

    with pytest.raises(TaskManagerError):
        await check(user, queue)

    assert queue.snapshot() == {}


async def test_a_user_who_may_not_publish_hints_is_told_so(queue: Queue, user: User) -> None:
    user.may("~tm:*", "resetchannels", "&other:*", "+@all")

    with pytest.raises(TaskManagerError, match="is not allowed to run PUBLISH"):
        await check(user, queue)


async def test_a_user_who_may_not_tell_of_ends_is_told_so(queue: Queue, user: User) -> None:
    user.may("~tm:*", "resetchannels", "&tm:{default}:control", "&tm:{default}:preflight", "+@all")

    with pytest.raises(
        TaskManagerError, match=r"is not allowed to run PUBLISH .* channels tm:\{default\}"
    ):
        await check(user, queue)


async def test_a_user_with_the_rights_of_one_queue_passes(queue: Queue, user: User) -> None:
    user.may("~tm:{default}:*", "resetchannels", "&tm:{default}:*", "+@all")

    await check(user, queue)


async def test_a_user_who_may_not_run_scripts_is_told_so(queue: Queue, user: User) -> None:
    user.may("~*", "+@all", "-evalsha", "-eval")

    with pytest.raises(
        TaskManagerError, match="this Redis user is not allowed to run scripts on keys tm:"
    ):
        await check(user, queue)


async def test_only_writing_is_refused_names_no_command_that_reads(
    queue: Queue, user: User
) -> None:
    user.may("~tm:*", "+@all", "-@write", "+evalsha", "+eval")

    with pytest.raises(TaskManagerError) as refused:
        await check(user, queue)

    assert "XADD" in str(refused.value)
    assert "HGET," not in str(refused.value)
    assert queue.snapshot() == {}
