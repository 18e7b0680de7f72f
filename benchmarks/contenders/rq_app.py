"""RQ.

Configured: SimpleWorker, which runs jobs in its own process instead of in a fork for each;
hiredis; its default pickle; results only where they are asked for, kept 300 s; warnings only in
the log. It runs one job at a time, whatever the slots are: more is more processes. Bulk is
enqueue_many. The functions are named rather than given, as this script is not their module.
"""

from __future__ import annotations

import random
import time
from typing import Any

import contender
import emitting
import mark
import told
from orders import Order, receipt
from redis import Redis
from rq import Queue, SimpleWorker

NO_RESULT, RESULT_S = 0, 300


def noop(data: dict[str, Any]) -> None:
    mark.done()


sync = noop


def sleep(data: dict[str, Any]) -> None:
    time.sleep(random.uniform(0, 0.020))
    mark.done()


def typed(data: dict[str, Any]) -> dict[str, int]:
    mark.done()
    return receipt(Order.model_validate(data))


def wait(data: dict[str, int]) -> None:
    mark.waited(data["sent_ns"])


def emit(mode: str) -> None:
    queue = _queue()
    function = f"rq_app.{told.HANDLER}"
    ttl = RESULT_S if told.HANDLER == "typed" else NO_RESULT
    queue.connection.ping()
    emitting.emit_blocking(
        mode,
        one=lambda data: queue.enqueue(function, data, result_ttl=ttl),
        many=lambda batch: queue.enqueue_many(
            [Queue.prepare_data(function, (data,), result_ttl=ttl) for data in batch]
        ),
        batch=1000,
        threads=8,
    )


def work() -> None:
    queue = _queue()
    SimpleWorker([queue], connection=queue.connection).work(logging_level="WARNING")


def _queue() -> Any:
    return Queue("default", connection=Redis.from_url(told.URL))


if __name__ == "__main__":
    contender.main(work=work, emit=emit)
