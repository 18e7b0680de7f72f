"""What happened, as each process wrote it into a file of its own: an oracle that is not Redis."""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One thing that a process did or saw.

    who is <name>.<pid>; at is monotonic, so comparable between the processes of
    this machine, wall is the wall time, both in seconds. The other fields are
    those of the job that it is about, where it is about one; on names who a
    fault concerns (empty: everybody), and span is how many seconds it lasts.
    """

    what: str
    who: str
    at: float
    wall: float
    job: str = ""
    queue: str = ""
    event: str = ""
    generation: int = 0
    delivery: int = 0
    attempt: int = 0
    priority: int = 0
    due: float = 0.0
    detail: str = ""
    on: str = ""
    span: float = 0.0

    @property
    def name(self) -> str:
        """The name of the process, the same over restarts."""
        return self.who.partition(".")[0]


class Recorder:
    """Writes the records of this process; safe in threads, and after a fork each has its file."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder
        self._name = name
        self._pid = 0
        self._file = -1

    @property
    def who(self) -> str:
        """This process, as its records name it."""
        return f"{self._name}.{os.getpid()}"

    def note(self, what: str, **fields: Any) -> None:
        """Append a record of now."""
        if self._pid != os.getpid():
            self._open()
        record = {"what": what, "who": self.who, "at": time.monotonic(), "wall": time.time()}
        # One write, so that a killed process leaves a whole line or none.
        os.write(self._file, json.dumps(record | fields).encode() + b"\n")

    def _open(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"{self.who}.jsonl"
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._pid = os.getpid()


def read_records(folder: Path) -> list[Record]:
    """Return everything that was written into a folder so far, in order of time."""
    found: list[Record] = []
    for path in folder.glob("*.jsonl"):
        written = path.read_bytes()
        # Behind the last line end may be half a line.
        whole = written[: written.rfind(b"\n") + 1].splitlines()
        found += [Record(**json.loads(line)) for line in whole]
    return sorted(found, key=lambda record: record.at)
