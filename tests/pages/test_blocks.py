"""Every Python block of the README and the docs runs, in order, in an empty directory."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.pages.steps import PAGES, ROOT, required, steps
from tests.support.processes import A_WHOLE_RUN, Spawner
from tests.support.servers import RedisServer

_WITH_CODE = [page for page in PAGES if steps(page.read_text())]


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

    reader = spawn.python(
        "-m",
        "tests.pages.reader",
        str(page),
        cwd=folder,
        env={"TASKMANAGER_REDIS_URL": server.url, "PYTHONPATH": str(ROOT)},
    )

    assert reader.wait(within=A_WHOLE_RUN) == 0, reader.text


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
