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
    """Make sure that a queue's default lane has its consumer group; return the lane's stream.

    The group is named after the type of the workers that read it, and begins at the first
    job of the lane. Emits and workers do this by themselves: it is for tools that look at
    the group earlier, such as an autoscaler. Repeating it changes nothing, and the queue's
    properties are left to its first worker. redis is a URL or a redis-py client.

    Raises InvalidInput for an invalid name or address, RedisUnavailable when Redis does not
    answer, LayoutMismatch when the queue belongs to an incompatible version, and
    TaskManagerError for whatever else keeps it from being made.
    """
    keys = Keys(check_name("queue", queue), check_name("namespace", namespace))
    lane = Lane(queue, check_name("type", type))
    connector = Connector.of(redis)
    wire = Wire(connector, name="groups")
    try:
        await call(wire, open_queue(keys, lane, None))
    except (ConnectionError, TimeoutError) as error:
        raise RedisUnavailable(connector.where, str(error), outcome="unknown") from error
    except ResponseError as error:
        raise explained(error, keys, connector.where) from error
    finally:
        await wire.close()
    return keys.lane(lane)
