"""Read deployment files, and run what they start as plain processes."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from consumers.assembly import LAST_WORDS
from consumers.consumer import CANCEL_PATIENCE
from taskmanager.cli.work import LAST_SECONDS
from taskmanager.settings import resolve
from tests.support.processes import Child

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"


def arguments_of(command: Sequence[str]) -> list[str]:
    """Return what a command gives to Python, for an interpreter of ours."""
    program, *arguments = command
    assert PurePosixPath(program).name == "python", f"{program} is not a Python"
    return arguments


def longest_stop(environment: Mapping[str, str]) -> float:
    """Return how many seconds a worker with these settings may take to stop.

    After running jobs come: the read that is under way, cancelled jobs, the last outcomes and
    threads of synchronous handlers.
    """
    running = resolve(command_line={}, given={}, environment=environment).shutdown_timeout
    return running + LAST_WORDS + CANCEL_PATIENCE + LAST_WORDS + LAST_SECONDS


def variables(text: str) -> dict[str, str]:
    """Return the variables of an environment file."""
    return dict(_split(line) for line in _lines(text))


@dataclass(frozen=True)
class Unit:
    """A unit of systemd: its sections, each with the values of each key in order."""

    sections: Mapping[str, Mapping[str, Sequence[str]]]

    @classmethod
    def read(cls, path: Path) -> Unit:
        sections: dict[str, dict[str, list[str]]] = {}
        for line in _lines(path.read_text()):
            if line.startswith("["):
                section = sections.setdefault(line.strip("[]"), {})
            else:
                key, value = _split(line)
                section.setdefault(key, []).append(value)
        return cls(sections)

    def get(self, key: str) -> str:
        """Return the value of a key of the service that has one."""
        (value,) = self.sections["Service"][key]
        return value

    @property
    def command(self) -> list[str]:
        """What it starts; a shell is not involved."""
        command = self.get("ExecStart").split()
        assert command[0].startswith("/"), "systemd looks for no program on the PATH"
        return command

    @property
    def environment(self) -> dict[str, str]:
        """The variables that it sets itself."""
        return dict(_split(it) for it in self.sections["Service"].get("Environment", []))

    def stop(self, main: Child) -> None:
        """Send the signal that systemd sends first, to whom it sends it."""
        assert self.get("KillMode") == "mixed", "the first signal goes to the main process alone"
        assert self.get("KillSignal") == signal.SIGTERM.name
        main.terminate()


def _lines(text: str) -> Iterator[str]:
    for line in text.replace("\\\n", " ").splitlines():
        if line.strip() and not line.startswith(("#", ";")):
            yield line.strip()


def _split(line: str) -> tuple[str, str]:
    key, equals, value = line.partition("=")
    assert equals, f"{line!r} is not an assignment"
    return key, value
