"""The jobs, and the task manager that the web app and the workers share."""

import asyncio

from pydantic import BaseModel
from taskmanager import Job, TaskManager, injected

# Redis is where TASKMANAGER_REDIS_URL points. Results are kept for an hour.
tm = TaskManager(concurrency=10, result_ttl=3600)


class Report(BaseModel):
    customer: str
    pages: int


@tm.task(queue="reports", max_retries=3, timeout=600)
async def build_report(customer: str, pages: int = 3, job: Job = injected) -> Report:
    for page in range(1, pages + 1):
        await asyncio.sleep(0.2)  # Query, render, upload.
        await job.progress(page, pages)
    return Report(customer=customer, pages=pages)
