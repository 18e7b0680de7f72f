"""Fetch Django's tests of the version that is installed, and run them on a server of their own.

    python -m tests.contrib.django.suite [names of tests, as runtests.py takes them]

The exit code is 1 when a test fails that is not in known.py, or one passes that is.
"""

from __future__ import annotations

import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import django

from tests.contrib.django.suite import run, settings
from tests.support.processes import environment
from tests.support.servers import RedisServer, find_binaries

ROOT = Path(__file__).resolve().parents[4]
# Not in version control; `make clean` removes it.
CACHE = ROOT / ".django"


def main(labels: list[str]) -> int:
    """Run Django's tests, all of tests/tasks by default; return the exit code."""
    tests = _tests_of(django.get_version())
    server = RedisServer(find_binaries()[0]).start()
    print(f"Django {django.get_version()} on {server.id}", flush=True)
    try:
        done = subprocess.run(
            [sys.executable, run.__file__, str(tests), "--parallel=1", *(labels or ["tasks"])],
            env=environment(
                {
                    "DJANGO_SETTINGS_MODULE": settings.__name__,
                    "TASKMANAGER_REDIS_URL": server.url,
                    # Our own warnings are those of other tests.
                    "PYTHONWARNINGS": "ignore",
                }
            ),
            check=False,
        )
    finally:
        server.stop()
    return min(done.returncode, 1)


def _tests_of(version: str) -> Path:
    """Return the folder of Django's tests; they come with its source distribution alone."""
    folder = CACHE / f"django-{version}" / "tests"
    if not folder.exists():
        with tempfile.TemporaryDirectory() as fetched:
            _pip("download", "--no-deps", "--no-binary=:all:", "-d", fetched, f"django=={version}")
            with tarfile.open(next(Path(fetched).glob("*.tar.gz"))) as archive:
                archive.extractall(CACHE, filter="data")
    return folder


def _pip(*arguments: str) -> None:
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments]
    subprocess.run(command, check=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
