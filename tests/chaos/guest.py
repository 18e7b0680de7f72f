"""A worker that is a guest in somebody's main(): ``python -m tests.chaos.guest``.

At SIGTERM main() stops it. At SIGUSR1 main() ends without that, as soon as a job runs and
every other time with an error: asyncio.run then cancels whatever runs.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys

from tests.chaos.app import tm, under_way
from tests.chaos.setting import Setting

# Seconds. On a loaded machine one is at work seldom; where nothing comes it ends idle.
_AT_WORK_WITHIN = 2.0


class ApplicationError(Exception):
    """What ends the application."""


async def main(start: int) -> None:
    """Run the worker until told how to end."""
    loop = asyncio.get_running_loop()
    told: asyncio.Future[signal.Signals] = loop.create_future()
    for number in (signal.SIGTERM, signal.SIGUSR1):
        loop.add_signal_handler(number, _tell, told, number)
    starting = asyncio.create_task(tm.start())
    await asyncio.wait({starting, told}, return_when=asyncio.FIRST_COMPLETED)
    if starting.done():
        await starting
        print(f"worker {tm.settings.name} started", file=sys.stderr)
    if await told == signal.SIGTERM:
        await tm.stop()
        await asyncio.wait({starting})
        return
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_AT_WORK_WITHIN):
            await _at_work()
    if start % 2:
        raise ApplicationError


async def _at_work() -> None:
    while not under_way:
        await asyncio.sleep(0.002)


def _tell(told: asyncio.Future[signal.Signals], number: signal.Signals) -> None:
    if not told.done():
        told.set_result(number)


if __name__ == "__main__":
    asyncio.run(main(Setting.of_process().start))
