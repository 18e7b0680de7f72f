"""Run the real command line in child processes, and end them whatever happens."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.support import sessions
from tests.support.waiting import PATIENCE, eventually

_ROOT = Path(__file__).resolve().parents[2]
_KILLS_A_SESSION = Path(sessions.__file__)
# Seconds. What does some seconds' work takes far longer beside others at work.
A_WHOLE_RUN = 240.0
# An interpreter that starts beside several others takes its time.
_PROCESS_PATIENCE = 1.5 * PATIENCE
# Who is killed cannot end what it has started. So a watcher, nobody's child, reads a
# pipe that nobody writes to, and kills the whole session when the pipe's other end is gone:
# a supervisor's workers are in groups of their own. It ignores what a terminal or the child
# itself sends to all of its group.
_ENDS_WITH_US = (
    "trap '' HUP INT TERM; exec 3<&0 </dev/null; "
    f'( (read -r _ <&3 || exec "{sys.executable}" "{_KILLS_A_SESSION}" $$) & ); '
    "exec 3<&-; trap - HUP INT TERM; "
    'exec "$@"'
)


class Child:
    """A process of ours in a session of its own; its output goes to a file.

    It ends with this process, whatever way that ends.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        output: Path,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.output = output
        self._read_to = 0
        with output.open("wb") as file:
            self._process = subprocess.Popen(
                ["/bin/sh", "-c", _ENDS_WITH_US, "sh", *command],
                stdin=subprocess.PIPE,
                stdout=file,
                stderr=subprocess.STDOUT,
                cwd=cwd,
                env=environment(env or {}),
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    @property
    def text(self) -> str:
        """Everything it has written so far, standard output and error together."""
        return self.output.read_text(errors="replace")

    def wait_for_line(self, pattern: str, within: float = _PROCESS_PATIENCE) -> re.Match[str]:
        """Return the next line that matches, after the last one returned here.

        Fails at once when the process has ended without it.
        """

        def seen() -> re.Match[str] | None:
            ended = not self.running
            match = self._next_line(pattern)
            if match is None and ended:
                raise RuntimeError(f"it ended without a line like {pattern!r}:\n{self.text}")
            return match

        try:
            found = eventually(seen, within)
        except AssertionError:
            raise AssertionError(
                f"no line like {pattern!r} within {within:g} s, but:\n{self.text}"
            ) from None
        assert found is not None
        return found

    def kill(self) -> None:
        """kill -9, this process only."""
        self._signal(signal.SIGKILL)

    def kill_all(self) -> None:
        """kill -9 of it and of everything it started, whatever process group that is in."""
        sessions.kill(self.pid)

    def terminate(self) -> None:
        """SIGTERM, this process only."""
        self._signal(signal.SIGTERM)

    def interrupt(self) -> None:
        """SIGINT to it and everything it started, as Ctrl-C in a terminal."""
        os.killpg(self.pid, signal.SIGINT)

    def prompt(self) -> None:
        """SIGUSR1, this process only: it means what the test and the child agree on."""
        self._signal(signal.SIGUSR1)

    def pause(self) -> None:
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def wait(self, within: float = _PROCESS_PATIENCE) -> int:
        """Return the exit code; negative is the signal that ended it."""
        try:
            code = self._process.wait(within)
        except subprocess.TimeoutExpired:
            raise AssertionError(
                f"process {self.pid} still runs after {within:g} s; it wrote:\n{self.text}"
            ) from None
        self._dismiss_watcher()
        return code

    def end(self) -> None:
        """Leave nothing of it behind."""
        self.kill_all()
        self._process.wait()
        self._dismiss_watcher()

    def _dismiss_watcher(self) -> None:
        watcher = self._process.stdin
        assert watcher is not None
        if not watcher.closed:
            # A line tells it that there is nothing to kill any more.
            with contextlib.suppress(BrokenPipeError), watcher:
                watcher.write(b"ended\n")

    def _signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def _next_line(self, pattern: str) -> re.Match[str] | None:
        text = self.text
        # Only whole lines: half a line may match half of what it will say.
        match = re.compile(f"^.*?(?:{pattern}).*\n", re.MULTILINE).search(text, self._read_to)
        if match is None:
            return None
        self._read_to = match.end()
        return re.search(pattern, match[0])


class Spawner:
    """Starts children in a folder and ends them all."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._children: list[Child] = []

    def __call__(
        self, *arguments: str, cwd: Path | None = None, env: Mapping[str, str] | None = None
    ) -> Child:
        """Start ``python -m taskmanager <arguments>``; env is added to this process's own."""
        return self.python("-m", "taskmanager", *arguments, cwd=cwd, env=env)

    def python(
        self, *arguments: str, cwd: Path | None = None, env: Mapping[str, str] | None = None
    ) -> Child:
        """Start this interpreter with any arguments."""
        output = self._folder / f"child-{len(self._children)}.log"
        child = Child([sys.executable, *arguments], output=output, cwd=cwd, env=env)
        self._children.append(child)
        return child

    def texts(self) -> list[str]:
        """Return what each of them has written, in the order in which they were started."""
        return [child.text for child in self._children]

    def end(self) -> None:
        for child in self._children:
            child.end()


def environment(extra: Mapping[str, str]) -> dict[str, str]:
    # Settings of the person who runs the tests must not reach the child.
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("TASKMANAGER_")}
    return {**inherited, "PYTHONPATH": str(_ROOT), "PYTHONUNBUFFERED": "1", **extra}
