"""The README's examples do what it says, word for word but for the server's address."""

from __future__ import annotations

import re
from pathlib import Path

from tests.support.processes import Spawner
from tests.support.servers import RedisServer

README = Path(__file__).resolve().parents[2] / "README.md"


def examples() -> list[str]:
    """Return the Python code of its section with the first example."""
    section = README.read_text().partition("## A first example")[2].partition("More in a few")[0]
    return re.findall(r"```python\n(.*?)```", section, re.DOTALL)


def test_the_first_example_runs_where_no_redis_is_installed(spawn: Spawner, tmp_path: Path) -> None:
    (tmp_path / "hello.py").write_text(examples()[0])

    # The interpreter's own folder stays off the PATH too: a package may have put a server there.
    hello = spawn.python("hello.py", cwd=tmp_path, env={"PATH": "/nowhere"})

    assert hello.wait(within=60) == 0, hello.text
    assert hello.text == "Hello, Ada!\n"


def test_a_worker_runs_what_another_program_emits(
    spawn: Spawner, tmp_path: Path, server: RedisServer
) -> None:
    _, app, emits, *_ = examples()
    (tmp_path / "app.py").write_text(app.replace("redis://localhost:6379/0", server.url))
    (tmp_path / "emits.py").write_text(emits)
    worker = spawn("worker", "app:tm", cwd=tmp_path)
    worker.wait_for_line("started")

    emitter = spawn.python("emits.py", cwd=tmp_path)

    assert emitter.wait(within=60) == 0, emitter.text
    assert emitter.text == "Hello, Ada!\n"
