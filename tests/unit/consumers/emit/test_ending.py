"""Something is called when an event loop ends, after its tasks were cancelled."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncGenerator

from consumers.emit.ending import at_the_end


def test_it_is_called_at_the_end_of_the_loop_after_its_tasks() -> None:
    seen, kept = list[str](), list[object]()

    async def never_ends() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            seen.append("task")

    async def main() -> None:
        kept.append(at_the_end(lambda: seen.append("end")))
        kept.append(asyncio.create_task(never_ends()))
        await asyncio.sleep(0)

    asyncio.run(main())

    assert seen == ["task", "end"]


async def test_it_is_called_once_when_it_is_closed() -> None:
    seen = list[str]()
    ending = at_the_end(lambda: seen.append("end"))

    await ending.aclose()
    await ending.aclose()

    assert seen == ["end"]


def test_a_loop_that_closes_without_it_leaves_nothing_to_report() -> None:
    loop, seen = asyncio.new_event_loop(), list[object]()
    loop.set_exception_handler(lambda _, context: seen.append(context))

    async def main() -> AsyncGenerator[None, None]:
        return at_the_end(lambda: None)

    ending = loop.run_until_complete(main())
    loop.close()
    del ending
    gc.collect()

    assert seen == []
