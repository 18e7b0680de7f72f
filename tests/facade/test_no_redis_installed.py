"""An embedded:// URL needs no Redis on the machine."""

from __future__ import annotations

from pathlib import Path

from tests.support.processes import Spawner

_PROGRAM = """
import asyncio

from taskmanager import TaskManager

tm = TaskManager("embedded://")


@tm.task
async def greet(name: str) -> str:
    return f"Hello, {name}!"


async def main() -> None:
    async with tm:
        await tm.start()
        handle = await greet.emit("Ada")
        print(await handle.result(timeout=10))


asyncio.run(main())
"""


def test_a_program_has_a_server_of_its_own_where_none_is_installed(
    spawn: Spawner, tmp_path: Path
) -> None:
    (tmp_path / "hello.py").write_text(_PROGRAM)

    # The interpreter's own folder stays off the PATH too: a package may have put a server there.
    hello = spawn.python("hello.py", cwd=tmp_path, env={"PATH": "/nowhere"})

    assert hello.wait(within=60) == 0, hello.text
    assert hello.text == "Hello, Ada!\n"
