"""Report each night what was sold the day before.

    python examples/nightly_report.py

The schedule is one option of the handler. It fires once a night, at half past two in
Berlin, even in the two nights of a year in which the clocks change, and no matter how
many workers run. If no worker runs in a night, its report is made as soon as one does.
You need not wait for the night here: the program books a few sales, shows when the
schedule fires next, and fires it by hand.

You need no Redis: the program starts a private one and stops it at the end.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import tempfile
from collections.abc import AsyncIterator
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import TypedDict
from zoneinfo import ZoneInfo

from taskmanager import Context, Job, TaskManager

ZONE = "Europe/Berlin"
PRICES = {"coffee": 250, "tea": 200}


class Sale(TypedDict):
    day: str
    product: str


class Report(TypedDict):
    """What was sold on a day: how many of each product, and for how much (cents)."""

    day: str
    sold: dict[str, tuple[int, int]]


@contextlib.asynccontextmanager
async def lifespan() -> AsyncIterator[dict[str, Path]]:
    """Create the database that the handlers share as `ctx.sales`."""
    with tempfile.TemporaryDirectory(prefix="nightly-report-") as folder:
        path = Path(folder) / "sales.db"
        with contextlib.closing(sqlite3.connect(path)) as sales, sales:
            sales.execute("CREATE TABLE sales (key PRIMARY KEY, day, product, cents)")
        yield {"sales": path}


tm = TaskManager("embedded://", lifespan=lifespan, concurrency=4)


@tm.registerHandler(event="sale")
def book(job: Job[Sale], ctx: Context) -> None:
    """Book a sale, once: if the job runs twice, its key is the same both times."""
    row = (job.idempotency_key, job.data["day"], job.data["product"], PRICES[job.data["product"]])
    with contextlib.closing(sqlite3.connect(ctx.sales, timeout=10)) as sales, sales:
        sales.execute("INSERT OR IGNORE INTO sales VALUES (?, ?, ?, ?)", row)


# With "skip", a report that takes all day never overlaps the next one.
@tm.registerHandler(
    event="nightly-report",
    max_retries=3,
    repeat={"pattern": "30 2 * * *", "tz": ZONE, "overlap": "skip"},
)
def report(job: Job[dict[str, str]], ctx: Context) -> Report:
    """Sum up the day before this job was emitted."""
    day = str(day_before(job.created_at))
    query = "SELECT product, count(*), sum(cents) FROM sales WHERE day = ? GROUP BY product"
    with contextlib.closing(sqlite3.connect(ctx.sales, timeout=10)) as sales:
        return {"day": day, "sold": {it[0]: (it[1], it[2]) for it in sales.execute(query, [day])}}


def day_before(moment: datetime) -> date:
    return moment.astimezone(ZoneInfo(ZONE)).date() - timedelta(days=1)


async def main() -> None:
    async with tm:
        await tm.start()
        yesterday = str(day_before(datetime.now(ZoneInfo(ZONE))))
        await tm.emit_many(
            {"event": "sale", "data": {"day": yesterday, "product": product}, "deduplicate": False}
            for product in ["coffee"] * 12 + ["tea"] * 7
        )
        await tm.drain()
        await show_when()
        handle = await tm.schedule("nightly-report").run()
        show(await handle.result(timeout=10))


async def show_when() -> None:
    while not (found := await tm.schedules()):  # noqa: ASYNC110 - registered after the start
        await asyncio.sleep(0.05)
    (schedule,) = found
    print(f"{schedule.name} fires next, by the clocks of {schedule.tz}:")
    for fire in schedule.next_fires:
        print(f"  {fire.astimezone(ZoneInfo(schedule.tz)):%a %d %b %Y %H:%M (%z)}")


def show(found: Report) -> None:
    print(f"\nFired by hand, the report of {found['day']}:")
    for product, (count, cents) in sorted(found["sold"].items()):
        print(f"  {product:<8} {count:>4} sold {cents / 100:>8.2f}")


if __name__ == "__main__":
    asyncio.run(main())
