"""The queue that scripts are called on."""

from __future__ import annotations

import pytest
import redis as redis_py

from tests.support.queue import Queue


@pytest.fixture
def queue(redis: redis_py.Redis) -> Queue:
    return Queue(redis)
