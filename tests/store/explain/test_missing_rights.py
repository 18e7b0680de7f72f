"""A user who may not ask is refused, and gets no answer that is wrong."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from redis.exceptions import NoPermissionError, ResponseError

from consumers.admin.explainer import Explainer
from consumers.admin.inspector import Inspector
from consumers.connections.connector import Connector
from consumers.connections.wire import Wire
from consumers.store.refusals import meaning
from tests.store.explain.bringing import listed
from tests.support.queue import Queue, new_job
from tests.support.servers import RedisServer, chosen

# Each words a refusal in its own way.
pytestmark = pytest.mark.parametrize("server", chosen(), ids=lambda it: it.id, indirect=True)


@pytest.fixture
async def wire(queue: Queue, server: RedisServer) -> AsyncIterator[Wire]:
    """A connection of user ann, who may not do what a test takes from her."""
    queue.redis.execute_command("ACL", "SETUSER", "ann", "on", ">pw", "~*", "&*", "+@all")
    wire = Wire(Connector.of(server.url.replace("redis://", "redis://ann:pw@")), name=None)
    yield wire
    await wire.close()
    queue.redis.execute_command("ACL", "DELUSER", "ann")


@pytest.mark.parametrize(
    ("command", "named"),
    [("xinfo", "XINFO GROUPS"), ("xrange", "XRANGE"), ("xpending", "XPENDING"),
     ("sismember", "SISMEMBER"), ("xlen", "XLEN")],
)  # fmt: skip
async def test_a_job_is_not_explained_without_a_right(
    queue: Queue, wire: Wire, command: str, named: str
) -> None:
    listed(queue)
    queue.emit(new_job("b"), new_job(), new_job("c", priority=5))
    queue.redis.execute_command("ACL", "SETUSER", "ann", f"-{command}")

    with pytest.raises(ResponseError) as refused:
        await Explainer(wire, queue.keys).job("a")

    assert f"not allowed to run {named} in scripts" in str(
        meaning(refused.value, queue.keys, "here")
    )


@pytest.mark.parametrize(
    ("command", "named"), [("xinfo", "XINFO GROUPS"), ("xlen", "XLEN"), ("xrange", "")]
)
async def test_the_jobs_of_a_queue_are_not_counted_without_a_right(
    queue: Queue, wire: Wire, command: str, named: str
) -> None:
    queue.emit(new_job())
    queue.redis.execute_command("ACL", "SETUSER", "ann", f"-{command}")

    with pytest.raises(ResponseError) as refused:
        await Explainer(wire, queue.keys).queue()

    assert named in str(refused.value)


async def test_a_queue_has_no_figures_without_a_right(queue: Queue, wire: Wire) -> None:
    queue.emit(new_job())
    queue.redis.execute_command("ACL", "SETUSER", "ann", "-xinfo")

    with pytest.raises(NoPermissionError):
        await Inspector(wire, queue.keys).stats()
