"""Every Python block of the README and the docs runs, in order, in an empty directory."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.pages.reader import READ
from tests.pages.steps import PAGES, ROOT, required, steps
from tests.support.processes import A_WHOLE_RUN, Spawner
from tests.support.servers import RedisServer

_WITH_CODE = [page for page in PAGES if steps(page.read_text())]


def read(page: Path, spawn: Spawner, server: RedisServer, folder: Path) -> str:
    """Take the steps of a page in an empty folder, and return what that wrote."""
    reader = spawn.python(
        "-m",
        "tests.pages.reader",
        str(page),
        cwd=folder,
        env={"TASKMANAGER_REDIS_URL": server.url, "PYTHONPATH": str(ROOT)},
    )
    code = reader.wait(within=A_WHOLE_RUN)
    assert (code, reader.text.endswith(f"{READ}\n")) == (0, True), reader.text
    return reader.text


@pytest.mark.timeout(2 * A_WHOLE_RUN)
@pytest.mark.foreign_keys
@pytest.mark.parametrize("page", _WITH_CODE, ids=lambda it: it.relative_to(ROOT).as_posix())
def test_every_block_of_a_page_runs(
    page: Path, spawn: Spawner, server: RedisServer, tmp_path: Path
) -> None:
    for module in required(page.read_text()):
        if find_spec(module) is None:
            pytest.skip(f"{module} is not installed; `make {module}` runs this page")
    folder = tmp_path / "empty"
    folder.mkdir()

    text = read(page, spawn, server, folder)

    # Such as the error of a task that nobody awaits.
    assert "Traceback" not in text


def test_a_page_is_read_as_steps() -> None:
    page = """\
<!-- test: hidden
names = ["Ada"]
-->
Prose.

```python title="app.py"
print("hello")
```

<!-- test: worker app:tm -->
1. In a list:

   ```python
   if names:
       print(names)
   ```
"""

    read = [(step.verb, step.text, step.title) for step in steps(page)]

    assert read == [
        ("hidden", 'names = ["Ada"]', ""),
        ("file", 'print("hello")\n', "app.py"),
        ("worker", "app:tm", ""),
        ("run", "if names:\n    print(names)\n", ""),
    ]


def test_a_comment_that_asks_for_an_unknown_step_is_refused() -> None:
    with pytest.raises(ValueError, match="line 1: no such step: skip"):
        steps("<!-- test: skip -->\n")


@pytest.mark.parametrize(
    "block",
    [
        "~~~python\n1 / 0\n~~~\n",
        "```py\n1 / 0\n```\n",
        "``` python\n1 / 0\n```\n",
        "```Python\n1 / 0\n```\n",
        "```{.python}\n1 / 0\n```\n",
        "````python\n1 / 0\n````\n",
        "```python title='app.py'\n1 / 0\n```\n",
        "```\n1 / 0\n```\n",
        "> ```python\n> 1 / 0\n> ```\n",
        "\t```python\n\t1 / 0\n\t```\n",
        "<!-- tests: hidden\n1 / 0\n-->\n",
        "  <!-- test: hidden\n1 / 0\n-->\n",
    ],
)
def test_a_block_that_would_not_run_is_refused(block: str) -> None:
    with pytest.raises(ValueError, match="line 3: write it as the others are"):
        steps(f"Prose.\n\n{block}")


@pytest.mark.parametrize(
    ("page", "why"),
    [
        ("```python\nimport sys\n\nsys.exit(0)\n```\n", "SystemExit"),
        ("```python\nimport os\n\nos._exit(0)\n```\n", "assert"),
        ("<!-- test: raises ValueError -->\nProse.\n", "no block follows"),
        ("<!-- test: prints 7 -->\nProse.\n", "no block follows"),
        ("<!-- test: prints 7 -->\n```python\nprint(8)\n```\n", "'8"),
        ("<!-- test: raises ValueError -->\n```python\n1 / 0\n```\n", "ZeroDivisionError"),
        ("<!-- test: raises ValueError -->\n```python\npass\n```\n", "should have raised"),
    ],
)
def test_a_page_whose_blocks_do_something_else_fails(
    page: str, why: str, spawn: Spawner, server: RedisServer, tmp_path: Path
) -> None:
    path, folder = tmp_path / "page.md", tmp_path / "empty"
    path.write_text(page)
    folder.mkdir()

    with pytest.raises(AssertionError, match=why):
        read(path, spawn, server, folder)


def test_a_page_whose_worker_dies_fails(
    spawn: Spawner, server: RedisServer, tmp_path: Path
) -> None:
    path, folder = tmp_path / "page.md", tmp_path / "empty"
    path.write_text("""\
```python title="app.py"
import os

from taskmanager import TaskManager

tm = TaskManager("redis://localhost:6379/0")


@tm.task
async def die() -> None:
    os._exit(1)
```
<!-- test: worker app:tm -->
```python
from app import die

job = await die.emit()
while (await job.status()) != "running":
    pass
```
""")
    folder.mkdir()

    with pytest.raises(AssertionError, match="a worker failed"):
        read(path, spawn, server, folder)
