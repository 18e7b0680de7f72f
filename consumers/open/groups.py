"""Make the consumer group of a queue before a worker or a producer has."""

from __future__ import annotations

from redis.exceptions import ConnectionError, ResponseError, TimeoutError

from consumers.connections.connector import Connector
from consumers.connections.wire import Wire
from consumers.errors import RedisUnavailable
from consumers.jobs.lanes import DEFAULT_TYPE, Lane
from consumers.jobs.names import check_name
from consumers.open.opener import explained
from consumers.store.keys import Keys
from consumers.store.scripts import call
from consumers.store.tending import open_queue


async def ensure_consumer_group(
    redis: object,
    queue: str = "default",
    *,
    type: str = DEFAULT_TYPE,
    namespace: str = "tm",
) -> str:
    """Create the consumer group of a queue's default lane, and return the key of its stream.

    Emits and workers do this on their own. It is for tools that need the group earlier, such as an
    autoscaler. The group is named after the worker type, `type`, and begins at the first job of the
    lane. Repeating the call changes nothing. `redis` is a URL or a redis-py client.

    Raises InvalidInput for a bad name or address, RedisUnavailable if Redis does not answer,
    LayoutMismatch if the queue belongs to an incompatible version, and TaskManagerError if
    something else prevents it.
    """
    keys = Keys(check_name("queue", queue), check_name("namespace", namespace))
    lane = Lane(queue, check_name("type", type))
    connector = Connector.of(redis)
    wire = Wire(connector, name="groups")
    try:
        await call(wire, open_queue(keys, lane, None))
    except (ConnectionError, TimeoutError) as error:
        raise RedisUnavailable(
            connector.where, str(error), outcome="unknown", request="change"
        ) from error
    except ResponseError as error:
        raise explained(error, keys, connector.where) from error
    finally:
        await wire.close()
    return keys.lane(lane)
