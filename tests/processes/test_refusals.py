"""Workers that cannot start say why, in one line, and end with their own exit code."""

from __future__ import annotations

import pytest

from tests.processes.stage import APPS, Stage
from tests.support.processes import Child, Spawner

pytestmark = pytest.mark.timeout(300)


def test_a_worker_without_redis_ends_with_3_and_does_not_show_the_password(spawn: Spawner) -> None:
    worker = spawn(
        "--url", "redis://ann:s3cret@127.0.0.1:1/0", "worker", "jobs:tm",
        "--connect-timeout", "0.5", cwd=APPS,
    )  # fmt: skip

    assert worker.wait() == 3
    assert "redis://ann:***@127.0.0.1:1/0" in the_error(worker)
    assert "s3cret" not in worker.text


def test_a_module_that_does_not_import_ends_a_worker_with_2_and_the_cause(stage: Stage) -> None:
    worker = stage.starting("broken")

    assert worker.wait() == 2
    assert "RuntimeError: SHOP_API_KEY is not set" in the_error(worker)
    assert "broken.py:5" in the_error(worker)


def test_an_app_without_handlers_ends_a_worker_with_2(stage: Stage) -> None:
    worker = stage.starting("silent")

    assert worker.wait() == 2
    assert "silent:tm has no handlers" in the_error(worker)


def test_several_processes_say_once_why_they_cannot_start(stage: Stage) -> None:
    worker = stage.starting("broken", "-p", "2")

    assert worker.wait() == 2
    assert "RuntimeError: SHOP_API_KEY is not set" in worker.text
    assert "Traceback" not in worker.text


def the_error(worker: Child) -> str:
    """The one line that says what is wrong."""
    (line,) = [line for line in worker.text.splitlines() if line.startswith("Error: ")]
    assert "Traceback" not in worker.text
    return line
