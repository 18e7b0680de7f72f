"""The fault proxy breaks exactly what it is told to break; other tests stand on that."""

from __future__ import annotations

import hashlib
import socket
import time
from collections.abc import Iterator

import pytest
import redis as redis_py
from redis.backoff import NoBackoff
from redis.retry import Retry

from consumers.store.scripts import Script
from tests.support.proxy import FaultProxy
from tests.support.servers import RedisServer
from tests.support.waiting import PATIENCE, eventually

pytestmark = pytest.mark.foreign_keys


@pytest.fixture
def proxy(server: RedisServer) -> Iterator[FaultProxy]:
    with FaultProxy(server.port) as proxy:
        yield proxy


@pytest.fixture
def through(proxy: FaultProxy) -> Iterator[redis_py.Redis]:
    with connect(proxy) as client:
        yield client


def connect(proxy: FaultProxy, protocol: int = 2) -> redis_py.Redis:
    return redis_py.Redis.from_url(
        proxy.url, retry=Retry(NoBackoff(), 0), protocol=protocol, socket_timeout=1.0
    )


@pytest.mark.parametrize("protocol", [2, 3])
def test_what_passes_is_unchanged(proxy: FaultProxy, protocol: int) -> None:
    value = bytes(range(256)) * 4096

    with connect(proxy, protocol) as client, client.pipeline(transaction=True) as pipe:
        pipe.set("a", value).get("a").hset("h", "f", 1).hgetall("h").get("none").lrange("l", 0, -1)
        answers = pipe.execute()

    assert answers == [True, value, 1, {b"f": b"1"}, None, []]
    assert proxy.requests["SET"] == 1
    assert proxy.dropped == 0


def test_a_dropped_reply_belongs_to_a_request_that_was_executed(
    proxy: FaultProxy, through: redis_py.Redis, redis: redis_py.Redis
) -> None:
    proxy.drop_reply("INCRBY", times=2)

    for _ in range(2):
        with pytest.raises(redis_py.ConnectionError):
            through.incr("n")

    assert through.incr("n") == 3
    assert proxy.dropped == 2
    assert redis.get("n") == b"3"


def test_a_reply_that_was_not_asked_for_in_time_is_not_dropped_later(
    proxy: FaultProxy, through: redis_py.Redis
) -> None:
    proxy.drop_reply("INCRBY")
    proxy.drop_reply("GET")
    with pytest.raises(redis_py.ConnectionError):
        through.get("n") or through.incr("n")

    proxy.keep_replies()

    assert through.incr("n") == 2
    assert proxy.lost == {"INCRBY": 1}


def test_a_connection_that_has_lost_bytes_is_dead_until_it_is_closed(
    proxy: FaultProxy, through: redis_py.Redis
) -> None:
    through.ping()
    proxy.swallow()
    with pytest.raises(redis_py.TimeoutError), connect(proxy) as other:
        other.ping()
    with pytest.raises(redis_py.TimeoutError):
        through.ping()

    proxy.pass_all()

    eventually(lambda: proxy.open == proxy.dead == 0)
    assert through.ping()
    assert (proxy.open, proxy.dead) == (1, 0)


def test_only_the_named_reply_of_a_pipeline_is_dropped(
    proxy: FaultProxy, through: redis_py.Redis, redis: redis_py.Redis
) -> None:
    proxy.drop_reply("INCRBY", containing="second")
    pipe = through.pipeline(transaction=False)
    for name in ("first", "second", "third"):
        pipe.incr(name)

    with pytest.raises(redis_py.ConnectionError):
        pipe.execute()

    assert redis.mget("first", "second") == [b"1", b"1"]
    assert through.incr("first") == 2


def test_replies_of_requests_that_did_nothing_are_not_dropped(
    proxy: FaultProxy, through: redis_py.Redis, redis: redis_py.Redis
) -> None:
    redis.xgroup_create("s", "g", id="0", mkstream=True)
    proxy.drop_reply("XREADGROUP")
    proxy.drop_reply("EVALSHA")

    assert not through.xreadgroup("g", "c", {"s": ">"}, block=10)
    with pytest.raises(redis_py.exceptions.NoScriptError):
        through.evalsha("0" * 40, 0)
    redis.xadd("s", {"f": "v"})
    with pytest.raises(redis_py.ConnectionError):
        through.xreadgroup("g", "c", {"s": ">"})

    assert redis.xpending("s", "g")["pending"] == 1


def test_swallowed_connections_stay_open_and_silent(
    proxy: FaultProxy, through: redis_py.Redis, redis: redis_py.Redis
) -> None:
    through.ping()
    proxy.swallow()

    with pytest.raises(redis_py.TimeoutError):
        through.set("lost", 1)

    proxy.pass_all()
    assert through.ping() is True
    assert redis.get("lost") is None


def test_a_swallowed_connection_does_not_come_back(proxy: FaultProxy) -> None:
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=0.2) as held:
        held.sendall(b"PING\r\n")
        assert held.recv(100) == b"+PONG\r\n"

        proxy.swallow()
        held.sendall(b"PING\r\n")
        with pytest.raises(TimeoutError):
            held.recv(100)

        proxy.pass_all()
        held.sendall(b"PING\r\n")
        with pytest.raises(TimeoutError):
            held.recv(100)


def test_a_reset_reaches_every_open_connection_once(proxy: FaultProxy) -> None:
    with connect(proxy) as client, client.client() as one, client.client() as other:
        one.ping()
        other.ping()

        proxy.reset_all()

        for held in (one, other):
            with pytest.raises((redis_py.ConnectionError, OSError)):
                held.ping()
            assert held.ping() is True


def test_a_request_that_is_met_with_a_reset_is_not_executed(
    proxy: FaultProxy, through: redis_py.Redis, redis: redis_py.Redis
) -> None:
    proxy.reset_on("INCRBY", times=2)

    for _ in range(2):
        assert through.ping() is True
        with pytest.raises((redis_py.ConnectionError, OSError)):
            through.incr("n")

    assert through.incr("n") == 1
    assert proxy.resets.total() == 0


def test_refused_connections_are_reset_until_it_passes_again(
    proxy: FaultProxy, through: redis_py.Redis
) -> None:
    proxy.refuse()

    for _ in range(3):
        with pytest.raises(redis_py.ConnectionError):
            through.ping()

    proxy.pass_all()
    assert through.ping() is True


@pytest.mark.parametrize("protocol", [2, 3])
def test_a_muted_subscriber_is_confirmed_and_hears_nothing(
    proxy: FaultProxy, redis: redis_py.Redis, protocol: int
) -> None:
    with connect(proxy, protocol) as client, client.pubsub() as subscriber:
        subscriber.subscribe("c")
        assert subscriber.get_message(timeout=PATIENCE)["type"] == "subscribe"
        redis.publish("c", "heard")
        assert subscriber.get_message(timeout=PATIENCE)["data"] == b"heard"

        proxy.mute_pubsub()
        redis.publish("c", "muted")
        assert subscriber.get_message(timeout=0.1) is None

        proxy.pass_all()
        redis.publish("c", "heard again")
        assert subscriber.get_message(timeout=PATIENCE)["data"] == b"heard again"


def test_latency_delays_every_request(proxy: FaultProxy, through: redis_py.Redis) -> None:
    through.ping()
    proxy.latency(0.1)

    before = time.monotonic()
    through.ping()

    assert time.monotonic() - before >= 0.1


def test_a_server_that_ends_ends_its_connections(
    proxy: FaultProxy, through: redis_py.Redis, server: RedisServer
) -> None:
    through.ping()
    server.kill()

    with pytest.raises((redis_py.ConnectionError, OSError)):
        through.ping()

    eventually(lambda: proxy.open == 0)
    server.restart()
    assert through.ping() is True


@pytest.mark.foreign_keys
def test_a_paused_server_is_like_new_for_the_next_test(server: RedisServer) -> None:
    with server.client() as client:
        client.config_set("maxmemory", "10mb")
        client.acl_setuser("limited", enabled=True, nopass=True)
        client.set("k", 1)
    server.pause()

    server.reset()

    with server.client() as client:
        assert client.config_get("maxmemory") == {"maxmemory": "0"}
        assert client.acl_users() == ["default"]
        assert client.dbsize() == 0


def test_a_dropped_reply_of_a_script_is_found_by_digest_and_by_text(
    proxy: FaultProxy, redis: redis_py.Redis
) -> None:
    text = "return redis.call('INCR', KEYS[1])"
    script = Script("incr", text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())
    proxy.drop_reply_of(script, times=2)

    for command in (script.by_source(["n"], []), script.by_sha(["n"], [])):
        with connect(proxy) as client, pytest.raises(redis_py.ConnectionError):
            client.execute_command(*command)

    with connect(proxy) as client:
        assert client.execute_command(*script.by_sha(["n"], [])) == 3
    assert proxy.dropped == proxy.lost["incr"] == 2
    assert redis.get("n") == b"3"


def test_a_narrow_line_takes_its_time_and_changes_nothing(
    proxy: FaultProxy, through: redis_py.Redis
) -> None:
    value = bytes(range(256)) * 4
    through.set("a", value)
    proxy.bandwidth(4096)

    asked = time.monotonic()
    answer = through.get("a")
    took = time.monotonic() - asked

    assert answer == value
    assert took >= 0.2


def test_bytes_that_come_one_by_one_are_still_the_same(
    proxy: FaultProxy, through: redis_py.Redis
) -> None:
    value = bytes(range(256))
    proxy.slices()

    assert through.set("a", value)
    assert through.get("a") == value
