"""Threads of the operating system, and what runs in them, also where gevent has patched Python.

There threading starts greenlets, which share one thread, and an event loop needs a thread
for itself; sockets, locks and selectors wait for other greenlets, which it has not got.
"""

from __future__ import annotations

import asyncio
import importlib
import sys
import threading
from collections.abc import Callable
from typing import Any, Protocol


class Lock(Protocol):
    """What is needed of a lock."""

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Take it; False when it was not free within timeout seconds."""

    def release(self) -> None:
        """Free it, from any thread."""


def start_thread(work: Callable[[], object], *, name: str) -> None:
    """Run work in a daemon thread; raises RuntimeError when the interpreter is about to end."""
    if is_patched():
        original("_thread", "start_new_thread")(work, ())
    else:
        threading.Thread(target=work, name=name, daemon=True).start()


def taken_lock() -> Lock:
    """Return a lock that is taken; to wait for it holds up the whole thread, greenlets too."""
    lock: Lock = original("_thread", "allocate_lock")()
    lock.acquire()
    return lock


def new_event_loop() -> asyncio.AbstractEventLoop:
    """Return an event loop for a thread of its own."""
    if is_patched():
        return asyncio.SelectorEventLoop(original("selectors", "DefaultSelector")())
    return asyncio.new_event_loop()


def is_patched() -> bool:
    """Whether threads are greenlets in this process."""
    return original("_thread", "start_new_thread") is not sys.modules["_thread"].start_new_thread


def original(module: str, name: str) -> Any:
    """Return what a module has under a name, as it was before gevent patched it."""
    monkey = sys.modules.get("gevent.monkey")
    if monkey is None:
        return getattr(importlib.import_module(module), name)
    return monkey.get_original(module, name)
