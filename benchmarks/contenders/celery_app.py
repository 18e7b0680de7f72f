"""Celery with Redis.

Configured: the pool of threads in one process; hiredis; a prefetch multiplier of 64, which its
guide to optimizing proposes for many short tasks; task_acks_late, so that the job of a killed
worker is not lost, as with all others here; results only where they are asked for, kept 300 s;
no gossip, mingle, events or rate limits. Threads are as many as there are slots where handlers
wait, and THREADS at most where they do not: the GIL makes more of them slower. It has no bulk emit.
"""

from __future__ import annotations

import random
import time
from typing import Any

import contender
import emitting
import mark
import told
from celery import Celery
from orders import Order, receipt

THREADS = 8

app = Celery("celery_app", broker=told.URL, backend=told.URL)
app.conf.update(
    worker_prefetch_multiplier=64,
    task_acks_late=True,
    task_ignore_result=True,
    result_expires=300,
    worker_disable_rate_limits=True,
    worker_send_task_events=False,
    broker_connection_retry_on_startup=True,
)


@app.task(name="noop")
def noop(data: dict[str, Any]) -> None:
    mark.done()


@app.task(name="sleep")
def sleep(data: dict[str, Any]) -> None:
    time.sleep(random.uniform(0, 0.020))
    mark.done()


@app.task(name="sync")
def sync(data: dict[str, Any]) -> None:
    mark.done()


@app.task(name="typed", ignore_result=False)
def typed(data: dict[str, Any]) -> dict[str, int]:
    mark.done()
    return receipt(Order.model_validate(data))


@app.task(name="wait")
def wait(data: dict[str, int]) -> None:
    mark.waited(data["sent_ns"])


def emit(mode: str) -> None:
    task = app.tasks[told.HANDLER]
    with app.connection_for_write() as connection:
        connection.ensure_connection(max_retries=3)
    emitting.emit_blocking(mode, task.delay, threads=THREADS)


def work() -> None:
    threads = told.SLOTS if told.HANDLER == "sleep" else min(told.SLOTS, THREADS)
    options = ["-P", "threads", "-c", str(threads), "-l", "WARNING"]
    options += ["--without-gossip", "--without-mingle"]
    contender.become("celery", "-A", "celery_app", "worker", *options)


if __name__ == "__main__":
    contender.main(work=work, emit=emit)
