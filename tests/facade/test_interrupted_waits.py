"""Ctrl-C in a program that waits for a result without an event loop."""

from __future__ import annotations

import signal
import subprocess
import sys

import redis as redis_py

from tests.support.facade import KEYS, ROOT
from tests.support.servers import RedisServer
from tests.support.waiting import PATIENCE, eventually

_PROGRAM = """
import signal, sys
from taskmanager import TaskManager
# Whoever started this may ignore it.
signal.signal(signal.SIGINT, signal.default_int_handler)
tm = TaskManager(sys.argv[1])
tm.emit_sync("lonely").result(timeout=600)
"""


def test_an_interrupted_wait_ends_with_the_interrupt_alone(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    program = subprocess.Popen(
        [sys.executable, "-c", _PROGRAM, server.url],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        eventually(lambda: redis.exists(KEYS.waiters) or program.poll() is not None)
        program.send_signal(signal.SIGINT)
        output, errors = program.communicate(timeout=PATIENCE)
    finally:
        program.kill()

    assert output == ""
    assert errors.startswith("Traceback (most recent call last):\n")
    assert errors.endswith("\nKeyboardInterrupt\n")


_WITHOUT_REDIS = """
import os, signal, threading
from taskmanager import TaskManager
signal.signal(signal.SIGINT, signal.default_int_handler)
tm = TaskManager("redis://127.0.0.1:1", emit_timeout=600)
threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
tm.emit_sync("lonely")
"""


def test_an_interrupted_emit_leaves_no_task_for_the_interpreter_to_complain_about() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _WITHOUT_REDIS],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE,
        check=False,
    )

    assert "\nKeyboardInterrupt\n" in done.stderr
    assert "was destroyed" not in done.stderr
    assert "never retrieved" not in done.stderr
