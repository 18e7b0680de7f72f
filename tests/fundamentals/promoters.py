"""A process that promotes: ``promoters.py URL``. Ends when it is killed."""

from __future__ import annotations

import asyncio
import sys

from consumers.connection import Connector
from consumers.keys import Keys
from consumers.promoter import Promoter
from consumers.wire import Wire


async def main(url: str) -> None:
    promoter = Promoter(Wire(Connector.of(url), name="promoter"), Keys("default"))
    await promoter.step()
    print("ready", flush=True)
    await promoter.run()


asyncio.run(main(sys.argv[1]))
