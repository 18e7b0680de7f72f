"""What is asked before a job is added: is it a repetition, or part of a storm?

A guard's digest stands for the user's text, so that any text may be a key.
"""

from __future__ import annotations

import base64
import hashlib
from typing import Literal

# Which emit of a storm runs: its last one after it, or its first one at once.
Mode = Literal["trailing", "leading"]


def digest_of(event: str, partition: str, text: str) -> str:
    """Return the digest (22 characters, BLAKE2b-128) of a key of an event in a partition."""
    source = "\0".join((event, partition, text)).encode("utf-8", "surrogatepass")
    digest = hashlib.blake2b(source, digest_size=16).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def idempotent(digest: str) -> str:
    """Return the guard of an idempotency key.

    Its job stands for every later one with the key, while it lives and for 24 h after its end.
    """
    return f"i {digest}"


def debounced(digest: str, *, window_ms: int, longest_ms: int, mode: Mode) -> str:
    """Return the guard of a storm of emits.

    trailing: the last one runs, window_ms after it, at most longest_ms after the first.
    leading: the first one runs; others are dropped until none came for window_ms, at most
    for longest_ms.
    """
    return f"{'t' if mode == 'trailing' else 'l'} {digest} {window_ms} {longest_ms}"
