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
