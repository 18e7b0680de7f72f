"""What explains the jobs of the queue."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from consumers.admin.explainer import Explainer
from consumers.connections.connector import Connector
from consumers.connections.wire import Wire
from tests.support.queue import Queue
from tests.support.servers import RedisServer


@pytest.fixture
async def explainer(queue: Queue, server: RedisServer) -> AsyncIterator[Explainer]:
    wire = Wire(Connector.of(server.url), name=None)
    yield Explainer(wire, queue.keys)
    await wire.close()
