"""The tests of Django's that our backend is not to pass, and why."""

from __future__ import annotations

_DUMMY = "test_dummy_backend.DummyBackendTestCase"
_IMMEDIATE = "test_immediate_backend.ImmediateBackendTestCase"

KNOWN = {
    f"{_IMMEDIATE}.test_cannot_get_result": "it wants results to be missing, which we have",
    f"{_IMMEDIATE}.test_cannot_refresh_result": "it wants results to be missing, which we have",
    f"{_IMMEDIATE}.test_cannot_pass_run_after": "it wants run_after to be refused, which we have",
    f"{_IMMEDIATE}.test_throws_keyboard_interrupt": (
        "it wants a task's KeyboardInterrupt out of enqueue: a worker runs the task, not enqueue"
    ),
    f"{_DUMMY}.test_refresh_result": "it writes into the dummy backend's list in memory",
    f"{_DUMMY}.test_refresh_result_async": "it writes into the dummy backend's list in memory",
}
