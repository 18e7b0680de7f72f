"""How a task manager was configured: where Redis is, and the settings in force."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from types import ModuleType
from typing import Any, Generic, TypedDict

import redis as redis_py
import redis.asyncio as redis_async
from typing_extensions import TypeVar

from consumers.connections.connector import ALLOWED_URLS, Connector, masked
from consumers.errors import InvalidInput
from consumers.telemetry import Telemetry
from taskmanager import embedded, settings
from taskmanager.errors import ConflictingOptions, InvalidOption, NotConfigured
from taskmanager.options.arguments import ProcessorOptions
from taskmanager.settings import Settings

T = TypeVar("T", default=Any)

RedisSource = str | redis_py.Redis | redis_async.Redis | Connector
Seconds = float | timedelta

_SCHEMES = ("redis://", "rediss://", "unix://", "embedded://")


class TaskManagerOptions(TypedDict, Generic[T], total=False):
    """The arguments of TaskManager and TaskManager.init as a dict: `TaskManager(**options)`.

    In `TaskManagerOptions[T]`, T is the type of `ctx`. TaskManager and Settings explain the keys.
    """

    db: RedisSource | None
    streamdb: RedisSource | None
    ctx: T | None
    lifespan: Callable[[], AbstractAsyncContextManager[T]] | None
    include: Iterable[str | ModuleType]
    concurrency: int | None
    type: str | None
    capabilities: Iterable[str] | None
    levels: Iterable[int] | None
    region: str | None
    prefetch: int | None
    processor: ProcessorOptions | Mapping[str, Any] | None
    namespace: str | None
    lease: Seconds | None
    max_deliveries: int | None
    result_ttl: Seconds | None
    log_ttl: Seconds | None
    emit_timeout: Seconds | None
    connect_timeout: Seconds | None
    shutdown_timeout: Seconds | None
    max_queue_depth: int | None
    no_handler_deadline: Seconds | None
    max_loop_lag: Seconds | None
    expose: int | None
    telemetry: Telemetry | None


class Configuration:
    """The settings of constructor, command line and environment, resolved at the first use.

    An embedded server starts when a connector is first asked for.
    """

    def __init__(
        self,
        redis: RedisSource | None,
        *,
        db: RedisSource | None,
        streamdb: RedisSource | None,
        given: Mapping[str, Any],
    ) -> None:
        self._source = _one_source(redis, db, streamdb)
        self._archive = _archive_source(redis, db, streamdb)
        self._given = settings.check(given, where="TaskManager")
        self._command_line: dict[str, Any] = {}
        self._settings: Settings | None = None
        self._connector: Connector | None = None

    def override(self, values: Mapping[str, Any]) -> None:
        """Set settings that override all others; raises UnknownOption or InvalidOption."""
        self._command_line |= settings.check(values, where="configure")
        self._settings = self._connector = None

    def set_capabilities(self, names: Iterable[str]) -> tuple[str, ...]:
        """Change one setting that may change while a worker runs; return what is in force now."""
        if names is None or isinstance(names, str):
            raise InvalidOption("capabilities", names, "give a list of names; it may be empty")
        self._command_line |= settings.check({"capabilities": names}, where="set_capabilities")
        self._settings = None
        return self.settings.capabilities

    @property
    def settings(self) -> Settings:
        """The settings in force. The environment is read at the first use."""
        if self._settings is None:
            self._settings = settings.from_process(self._command_line, self._given)
        return self._settings

    @property
    def connector(self) -> Connector:
        """What opens connections to the Redis of the queues. Raises NotConfigured."""
        if self._connector is None:
            self._connector = _connector_of(self._resolved_source())
        return self._connector

    def __str__(self) -> str:
        """Return where Redis is, without a password, and the namespace. Starts nothing."""
        try:
            source = self._chosen_source()
            named = "no Redis" if source is None else _where(source)
            return ", namespace ".join([named, repr(self.settings.namespace)])
        except InvalidInput as error:
            # For example in the environment, which may not have been read before.
            return f"invalid settings ({error})"

    @property
    def archive(self) -> Connector | None:
        """What opens connections to the Redis of results, logs and progress, if it is separate."""
        archive = self._chosen_archive()
        if archive is None:
            return None
        return _connector_of(embedded.resolve(archive) if isinstance(archive, str) else archive)

    @property
    def is_embedded(self) -> bool:
        """Whether queues or results are in a private server of this process."""
        return any(_is_embedded(it) for it in (self._chosen_source(), self._chosen_archive()) if it)

    def _chosen_source(self) -> RedisSource | None:
        source: RedisSource | None = self._command_line.get("redis_url") or self._source
        return source or self.settings.redis_url

    def _chosen_archive(self) -> RedisSource | None:
        # A Redis named on the command line is for everything: a development server must not
        # keep its results in another one.
        return None if "redis_url" in self._command_line else self._archive

    def _resolved_source(self) -> RedisSource:
        source = self._chosen_source()
        if source is None:
            raise NotConfigured()
        return embedded.resolve(source) if isinstance(source, str) else source


def _one_source(
    redis: RedisSource | None, db: RedisSource | None, streamdb: RedisSource | None
) -> RedisSource | None:
    """Return the Redis that is meant, checked as far as possible without connecting."""
    if redis is not None and db is not None and redis != db:
        raise ConflictingOptions("redis", "db", "TaskManager")
    source = next((it for it in (streamdb, db, redis) if it is not None), None)
    if source is not None and not _is_embedded(source):
        _connector_of(source)
    return source


def _archive_source(
    redis: RedisSource | None, db: RedisSource | None, streamdb: RedisSource | None
) -> RedisSource | None:
    """Return the Redis of results, logs and progress; None if it is the one of the queues."""
    archive = db if db is not None else redis
    if streamdb is None or archive is None or archive is streamdb or archive == streamdb:
        return None
    if not _is_embedded(archive):
        _connector_of(archive)
    return archive


def _where(source: RedisSource) -> str:
    return str(source) if _is_embedded(source) else _connector_of(source).where


def _connector_of(source: RedisSource) -> Connector:
    # The engine knows no embedded servers, so its own error does not name them.
    if isinstance(source, str) and not source.lower().startswith(_SCHEMES):
        raise InvalidInput(
            f"Redis URL {masked(source)!r} is not allowed: it must start with redis://, rediss://, "
            f"unix:// or embedded://. Give {ALLOWED_URLS}. embedded:// starts a private server"
        )
    return Connector.of(source)


def _is_embedded(source: RedisSource) -> bool:
    return isinstance(source, str) and source.startswith("embedded://")
