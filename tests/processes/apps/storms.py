"""Emit a part of a storm, as soon as a file appears: url, group, name, count, file."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

from taskmanager import TaskManager


async def main(url: str, name: str, count: int, gate: Path) -> None:
    async with TaskManager(url) as tm:
        await tm.emit("connect", queue=f"other-{name}")
        print("ready", flush=True)
        while not gate.exists():
            time.sleep(0.001)
        began = time.monotonic()
        for start in range(0, count, 10):
            await asyncio.gather(
                *(
                    tm.emit("index", data={"by": name, "n": n}, debounce=2000, debounce_key="page")
                    for n in range(start, start + 10)
                )
            )
        print(f"took {time.monotonic() - began:.3f}", flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), Path(sys.argv[4])))
