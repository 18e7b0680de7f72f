"""The task that both services know: web.py emits it, the workers run it."""

from __future__ import annotations

import asyncio

from taskmanager import Job, TaskManager, injected

# TASKMANAGER_REDIS_URL in the environment names the Redis.
tm = TaskManager(result_ttl=86_400)


@tm.task(max_retries=3, timeout=300)
async def make_invoice(order: int, pages: int = 3, job: Job = injected) -> str:
    """Make the invoice of an order. Each page takes a second."""
    for page in range(1, pages + 1):
        await asyncio.sleep(1)
        await job.progress(page, pages)
    return f"invoice-{order}.pdf"
