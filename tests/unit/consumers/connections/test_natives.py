"""What replaces patched threads; with gevent itself only in a process of its own."""

from __future__ import annotations

import subprocess
import sys
import threading

from consumers.connections.natives import is_patched, new_event_loop, start_thread, taken_lock

_IN_GREENLETS = """
from gevent import monkey; monkey.patch_all()
import gevent
from consumers.connections.natives import *
assert is_patched()
lock = taken_lock()
start_thread(lock.release, name="real")
# Only a real thread can free it: this holds up every greenlet.
assert lock.acquire(timeout=30)
loop = new_event_loop()
loop.run_until_complete(__import__("asyncio").sleep(0.01))
loop.close()
"""


def test_nothing_is_replaced_where_nothing_is_patched() -> None:
    names: list[str] = []
    ended = taken_lock()

    def work() -> None:
        names.append(threading.current_thread().name)
        ended.release()

    start_thread(work, name="a-thread")

    assert ended.acquire(timeout=30)
    assert names == ["a-thread"]
    assert not is_patched()
    new_event_loop().close()


def test_a_thread_is_a_real_one_where_threads_are_greenlets() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _IN_GREENLETS],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
