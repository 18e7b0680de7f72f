"""When and whether a job runs: the policies between the engine and the facade."""

from __future__ import annotations

from processors.debounce import DebounceManager
from processors.processor import Processor, Registration
from processors.retries.retry import RetryPolicy
from processors.retries.signals import Discard, Retry, Snooze

__all__ = [
    "DebounceManager",
    "Discard",
    "Processor",
    "Registration",
    "Retry",
    "RetryPolicy",
    "Snooze",
]
