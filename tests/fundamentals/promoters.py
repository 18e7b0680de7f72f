"""A process that promotes: ``promoters.py URL``. Ends when it is killed.

Prints ``ready`` when it hears the queue's hints and sleeps, ``promotes`` when it has
promoted a batch and finds that more are due.
"""

from __future__ import annotations

import asyncio
import sys

from consumers.connections.connector import Connector
from consumers.connections.hints import Hints
from consumers.connections.wire import Wire
from consumers.store.keys import Keys
from consumers.upkeep.promoter import Promoter


class TellingPromoter(Promoter):
    told = False

    async def step(self) -> float:
        wait = await super().step()
        if wait == 0 and not self.told:
            self.told = True
            print("promotes", flush=True)
        return wait


async def main(url: str) -> None:
    connector, keys = Connector.of(url), Keys("default")
    promoter = TellingPromoter(Wire(connector, name="promoter"), keys)
    control = Hints(
        connector,
        {keys.control: keys.queue},
        on_hint=lambda queue, hint: promoter.wake(),
        on_reconnect=promoter.wake,
    )
    listening = asyncio.create_task(control.run())
    await control.subscribed.wait()
    await promoter.step()
    print("ready", flush=True)
    await asyncio.gather(listening, promoter.run())


asyncio.run(main(sys.argv[1]))
