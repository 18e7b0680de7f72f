"""The jobs that the scripts emit; workers run `python -m taskmanager worker jobs:tm`."""

import asyncio

from taskmanager import TaskManager

# Redis is where TASKMANAGER_REDIS_URL points. Results are kept for a day.
tm = TaskManager(concurrency=20, result_ttl=24 * 3600)


@tm.task(queue="invoices", max_retries=5, timeout=60)
async def send_invoice(customer: str, month: str) -> str:
    await asyncio.sleep(0.1)  # Render it, mail it.
    return f"{month} sent to {customer}"


@tm.task(queue="contacts", max_retries=3)
async def add_contact(name: str, email: str) -> None:
    await asyncio.sleep(0.01)  # Write it to the database.
