"""The ids of jobs that are given none: derived from what the job is, or random."""

from __future__ import annotations

import hashlib
import os
from binascii import b2a_base64
from functools import lru_cache
from typing import Any

from pydantic_core import from_json, to_json

_ID_BYTES = 16
# Like base64url, with a dot for the hyphen: an id that starts with a hyphen
# would be taken for an option on a command line.
_TO_ID = bytes.maketrans(b"+/", b"._")


def default_id(event: str, partition: str, data: bytes) -> str:
    """Return the id of a job that was given none: equal jobs have equal ids.

    data is JSON from ``encode``; the order of its keys does not matter. 22
    characters.
    """
    digest = _begun(event, partition).copy()
    digest.update(_canonical(data))
    return _text(digest.digest())


def fresh_id() -> str:
    """Return a random id of 22 characters, different in every call and process."""
    return _text(os.urandom(_ID_BYTES))


# Many jobs differ in their data only: a copy takes half as long as a new digest.
@lru_cache(maxsize=1024)
def _begun(event: str, partition: str) -> hashlib.blake2b:
    return hashlib.blake2b(f"{event}\0{partition}\0".encode(), digest_size=_ID_BYTES)


def _canonical(data: bytes) -> bytes:
    # With fewer than two colons there are not two keys to be sorted.
    if data.count(b":") < 2:
        return data
    return to_json(_sorted(from_json(data)))


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value)}
    if isinstance(value, list):
        return [_sorted(item) for item in value]
    return value


def _text(digest: bytes) -> str:
    return b2a_base64(digest).translate(_TO_ID, b"=\n").decode()
