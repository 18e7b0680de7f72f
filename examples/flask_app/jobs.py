"""The jobs, and the task manager that the views and the workers share."""

import time
from typing import TypedDict

from taskmanager import Job, TaskManager, injected

# Redis is where TASKMANAGER_REDIS_URL points. Results are kept for an hour.
tm = TaskManager(concurrency=10, result_ttl=3600)


class Report(TypedDict):
    customer: str
    pages: int


@tm.task(queue="reports", max_retries=3, timeout=600)
def build_report(customer: str, pages: int = 3, job: Job = injected) -> Report:
    for page in range(1, pages + 1):
        if job.cancelled:  # Stop early: a thread cannot be interrupted.
            break
        time.sleep(0.2)  # Query, render, upload.
        job.progress(page, pages)
    return {"customer": customer, "pages": pages}
