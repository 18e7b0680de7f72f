"""Do what a page says, block after block, in the working directory.

``python -m tests.pages.reader docs/tasks.md`` with TASKMANAGER_REDIS_URL set. It is a process of
its own, because pages register handlers, start workers and import what they have written.
"""

from __future__ import annotations

import ast
import asyncio
import contextlib
import inspect
import io
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from tests.pages.steps import Step, steps
from tests.support.processes import Child, Spawner

# Where the pages have Redis.
_URL = "redis://localhost:6379/0"
_LANGUAGES_TO_RUN = {"python"}
# The last line of a page that was read to its end, whatever its blocks do to the process.
READ = "every step was taken"


class Reader:
    """Reads one page; its blocks share a namespace and an event loop."""

    def __init__(self, page: Path, spawn: Spawner, runner: asyncio.Runner) -> None:
        self._page = page
        self._spawn = spawn
        self._runner = runner
        self._url = os.environ["TASKMANAGER_REDIS_URL"]
        self._prints: str | None = None
        self._raises: str | None = None
        self._workers: list[Child] = []
        self._fresh()

    def read(self) -> None:
        """Take each step. Raises AssertionError, or what a block raises, at the first failure."""
        for step in steps(self._page.read_text()):
            self._take(step)
        assert (self._prints, self._raises) == (None, None), f"{self._page}: no block follows"
        self._stop_workers()

    def _take(self, step: Step) -> None:
        match step.verb:
            case "run" | "hidden" | "file":
                self._check(step)
            case "worker":
                self._start_worker(step.text.split())
            case "stop":
                self._stop_workers()
            case "fresh":
                self._fresh()
            case "prints":
                self._prints = step.text
            case "raises":
                self._raises = step.text

    def _start_worker(self, arguments: list[str]) -> None:
        environment = {"TASKMANAGER_REDIS_URL": self._url}
        worker = self._spawn("worker", *arguments, cwd=Path.cwd(), env=environment)
        worker.wait_for_line("started")
        self._workers.append(worker)

    def _stop_workers(self) -> None:
        for worker in self._workers:
            worker.terminate()
            assert worker.wait() == 0, f"{self._page}: a worker failed:\n{worker.text}"
        self._workers.clear()

    def _fresh(self) -> None:
        # What looks up a function's or a class's module finds it, as that of any other program.
        self._module = sys.modules["page"] = ModuleType("page")

    def _check(self, step: Step) -> None:
        prints, self._prints = self._prints, None
        raises, self._raises = self._raises, None
        out = io.StringIO()
        try:
            with contextlib.redirect_stdout(out):
                self._file(step) if step.verb == "file" else self._run(step)
        except (Exception, SystemExit) as error:
            if raises != type(error).__name__:
                sys.stderr.write(out.getvalue())
                if isinstance(error, SystemExit):
                    # It would end the page here, and well.
                    raise AssertionError(f"{self._page}:{step.line}: {error!r}") from error
                raise
            raises = None
        assert raises is None, f"{self._page}:{step.line}: it should have raised {raises}"
        if prints is not None:
            assert out.getvalue().strip() == prints, f"{self._page}:{step.line}: {out.getvalue()!r}"

    def _run(self, step: Step) -> None:
        # The lines before it are there as empty ones, so that a traceback has the page's numbers.
        source = "\n" * (step.line - 1) + self._here(step.text)
        code = compile(
            source, str(self._page), "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True
        )
        if code.co_flags & inspect.CO_COROUTINE:
            self._runner.run(self._awaited(code))
        else:
            exec(code, self._module.__dict__)

    async def _awaited(self, code: Any) -> None:
        await eval(code, self._module.__dict__)

    def _file(self, step: Step) -> None:
        path = Path(step.title)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self._here(step.text))
        if step.language in _LANGUAGES_TO_RUN and path.name != "conftest.py":
            done = subprocess.run(
                [sys.executable, *_arguments(path)], capture_output=True, text=True, check=False
            )
            sys.stdout.write(done.stdout)
            assert done.returncode == 0, f"{self._page}:{step.line}: {path}:\n{done.stderr}"

    def _here(self, code: str) -> str:
        return code.replace(_URL, self._url)


def _arguments(path: Path) -> list[str]:
    """Return how Python is to run a file, with the working directory on its path."""
    if path.name.startswith("test_"):
        return ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:valkey", str(path)]
    if "." in path.stem:
        return [str(path)]
    return ["-m", ".".join(path.with_suffix("").parts)]


def main() -> None:
    page = Path(sys.argv[1]).resolve()
    # Files that the page has written can be imported, and hide nothing of the project.
    sys.path.append(str(Path.cwd()))
    logs = Path.cwd() / ".logs"
    logs.mkdir()
    spawn = Spawner(logs)
    try:
        with asyncio.Runner() as runner:
            Reader(page, spawn, runner).read()
    finally:
        spawn.end()
    print(READ)


if __name__ == "__main__":
    main()
