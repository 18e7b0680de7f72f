"""Count the instructions of a server that valgrind runs; nothing else calls valgrind.

Instructions are the same in each run, within a percent or two: neither other processes nor the
pace of the machine are in them.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.failures import Failed
from tests.support.servers import Binary, RedisServer

_VALGRIND = "valgrind"
# What speaks to a program that runs under valgrind; it is installed with it.
_CONTROL = "vgdb"
_SECONDS = 60.0
_TOTAL = re.compile(r"^totals: (\d+)$", re.MULTILINE)


def missing() -> str:
    """Return why instructions cannot be counted here; empty if they can."""
    if all(map(shutil.which, (_VALGRIND, _CONTROL))):
        return ""
    return "counting instructions needs valgrind: install it (Debian: apt install valgrind)"


class Counted:
    """A server whose instructions are counted, but only while we ask for that."""

    def __init__(self, server: RedisServer, folder: Path) -> None:
        self.server, self._folder, self._dumps = server, folder, 0

    def count(self, work: Callable[[], None]) -> int:
        """Return how many instructions the server has run while we did the work."""
        self._tell("zero")
        self._tell("instrumentation on")
        work()
        self._tell("instrumentation off")
        self._tell("dump")
        self._dumps += 1
        return self._total(self._folder / f"out.{self._dumps}")

    def _tell(self, what: str) -> None:
        command = [_CONTROL, _pipes(self._folder), f"--pid={self.server.pid}", *what.split()]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_SECONDS, check=False
        )
        if done.returncode:
            raise Failed(f"{what} was not understood", done.stderr)

    def _total(self, dump: Path) -> int:
        found = _TOTAL.search(dump.read_text()) if dump.exists() else None
        if found is None:
            raise Failed(f"there is no total in {dump.name}", self.server.log())
        return int(found[1])


@contextlib.contextmanager
def counted(binary: Binary) -> Iterator[Counted]:
    """Run a server under valgrind, and stop it at the end."""
    with tempfile.TemporaryDirectory(prefix="tm-count-") as made:
        folder = Path(made)
        under = (
            _VALGRIND, "--tool=callgrind", "--instr-atstart=no", "--quiet", _pipes(folder),
            f"--callgrind-out-file={folder}/out",
        )  # fmt: skip
        # What a server does once in a while by itself would be counted with what we ask for.
        server = RedisServer(binary, under=under, hz="1", dynamic_hz="no")
        try:
            yield Counted(server.start(), folder)
        finally:
            server.stop()


def _pipes(folder: Path) -> str:
    """Return the option by which a program under valgrind and what speaks to it find each other."""
    return f"--vgdb-prefix={folder}/pipe"
