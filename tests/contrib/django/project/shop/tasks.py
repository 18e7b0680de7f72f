"""Its tasks."""

from __future__ import annotations

import threading
from typing import Any

from asgiref.sync import sync_to_async
from django.db import connection
from django.tasks import TaskContext, task

from taskmanager import Retry


@task
def add(one: int, other: int) -> int:
    return one + other


@task
async def add_soon(one: int, other: int) -> int:
    return one + other


@task(queue_name="mail", takes_context=True)
def attempt(context: TaskContext, *, until: int) -> list[Any]:
    """Fail until this attempt, which returns what its context says."""
    result = context.task_result
    if context.attempt < until:
        raise LookupError(f"attempt {context.attempt}")
    times = [it.isoformat() for it in (result.started_at, result.last_attempted_at)]
    return [result.id, result.status, context.attempt, result.worker_ids, times]


@task(takes_context=True)
async def attempt_soon(context: TaskContext, *, until: int) -> int:
    if context.attempt < until:
        raise Retry("not yet")
    return context.attempt


@task
def connect() -> list[Any]:
    """Leave a connection open; return whether one was, and the thread."""
    was_open = connection.connection is not None
    connection.ensure_connection()
    return [was_open, threading.get_ident()]


gate = threading.Event()


@task
def wait() -> None:
    gate.wait(30)


@task
async def connect_soon() -> list[Any]:
    return await sync_to_async(connect.func)()


@task
def pass_on() -> list[str]:
    return [add.enqueue(1, 2).id]


@task
async def pass_on_soon() -> list[str]:
    # The second blocks the loop, which must not wait for itself.
    return [(await add.aenqueue(1, 2)).id, add.enqueue(1, 2).id]


@task
def return_much(length: int) -> str:
    return "x" * length
