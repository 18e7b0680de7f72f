"""Write the logs and the progress of running jobs, fenced like everything else."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

from pydantic_core import to_json
from redis.exceptions import ConnectionError, ResponseError, TimeoutError

from consumers.connections.backoff import pause_before
from consumers.connections.clock import ServerClock
from consumers.connections.not_now import is_for_now
from consumers.connections.wire import Wire
from consumers.errors import LeaseLost
from consumers.jobs.names import worker_of
from consumers.run.run import current_run
from consumers.settle.archive import Archive
from consumers.store.delivery import Delivery
from consumers.store.noting import log, progress
from consumers.store.scripts import Call, call

LINE_LIMIT = 4096


class NoteWriter:
    """The notes of all deliveries of a consumer, of the worker of this name."""

    def __init__(
        self,
        wire: Wire,
        consumer: str,
        ttl_ms: int,
        archive: Archive | None = None,
        *,
        clock: ServerClock,
    ) -> None:
        self._archive = archive
        self._wire = wire if archive is None else archive.wire
        self._consumer = consumer
        self.worker = worker_of(consumer)
        self._ttl_ms = ttl_ms
        self.now_ms = clock.now_ms

    def log(self, delivery: Delivery, message: str | object) -> Awaitable[None]:
        """Append a line to the job's log; see Job.logger."""
        text = message if isinstance(message, str) else to_json(message, fallback=str).decode()
        line = _shortened(text)
        if self._archive is not None:
            return self._write(delivery, self._archive.log(delivery, self._ttl_ms, line))
        return self._write(delivery, log(delivery, self._consumer, self._ttl_ms, line))

    def progress(
        self, delivery: Delivery, done: float, total: float | None, note: str | None
    ) -> Awaitable[None]:
        """Record how far the job is; see Job.progress."""
        fields: list[str | float] = ["done", done]
        if total is not None:
            fields += ["total", total]
        if note is not None:
            fields += ["note", _shortened(note)]
        if self._archive is not None:
            return self._write(delivery, self._archive.progress(delivery, self._ttl_ms, fields))
        return self._write(delivery, progress(delivery, self._consumer, self._ttl_ms, fields))

    def _write(self, delivery: Delivery, note: Call) -> Awaitable[None]:
        run = current_run.get()
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            if run is None:
                raise
            run.block_on(self._send(delivery, note))
            return _done()
        written = asyncio.ensure_future(self._send(delivery, note))
        if run is not None:
            run.track(written)
        return written

    async def _send(self, delivery: Delivery, note: Call) -> None:
        """Write until Redis has answered or the job is lost: an outage is no failure of a job."""
        attempt = 0
        while not delivery.given_up:
            try:
                if await call(self._wire, note):
                    return
                break
            except (ConnectionError, TimeoutError, ResponseError) as error:
                if isinstance(error, ResponseError) and not is_for_now(error):
                    raise
                attempt += 1
                await asyncio.sleep(pause_before(attempt))
        raise LeaseLost(delivery.envelope.id)


def _shortened(text: str) -> str:
    return text.encode("utf-8", "replace")[:LINE_LIMIT].decode("utf-8", "ignore")


async def _nothing() -> None:
    return None


def _done() -> Awaitable[None]:
    # A synchronous handler has waited already and drops this.
    return _Done()


class _Done:
    def __await__(self) -> Any:
        return _nothing().__await__()
