"""Emits while the interpreter ends, when Python 3.12 and later start no threads any more."""

from __future__ import annotations

import pytest
import redis as redis_py

from tests.support.facade import python, waiting
from tests.support.servers import RedisServer

_PROGRAMS = {
    "the first emit of the process": """
import atexit, sys
from taskmanager import TaskManager
tm = TaskManager(sys.argv[1].replace("127.0.0.1", "localhost"), emit_timeout=20)
atexit.register(lambda: tm.emit_sync("bye"))
""",
    "after what was imported has ended": """
import atexit, sys
atexit.register(lambda: tm.emit_sync("bye"))
from taskmanager import TaskManager
tm = TaskManager(sys.argv[1].replace("127.0.0.1", "localhost"), emit_timeout=20)
tm.emit_sync("hello")
""",
    "while the portal still runs": """
import atexit, sys
from taskmanager import TaskManager
tm = TaskManager(sys.argv[1].replace("127.0.0.1", "localhost"), emit_timeout=20)
tm.emit_sync("hello")
atexit.register(lambda: tm.emit_sync("bye"))
""",
}


@pytest.mark.parametrize("program", _PROGRAMS.values(), ids=_PROGRAMS)
def test_what_is_emitted_at_exit_is_there(
    server: RedisServer, redis: redis_py.Redis, program: str
) -> None:
    done = python(program, server)

    assert (done.returncode, done.stderr) == (0, "")
    assert waiting(redis) == program.count("emit_sync")
