"""The ids of jobs that are given none: derived from what the job is, or random."""

from __future__ import annotations

import hashlib
import os
from binascii import b2a_base64
from functools import lru_cache
from typing import Any

from pydantic_core import from_json, to_json

_ID_BYTES = 16
_NESTED = (dict, list)
# None is a value that JSON may be read as.
NOT_READ: Any = object()
# Like base64url, with a dot for the hyphen: an id that starts with a hyphen
# would be taken for an option on a command line.
_TO_ID = bytes.maketrans(b"+/", b"._")


def default_id(event: str, partition: str, data: bytes, read: Any = NOT_READ) -> str:
    """Return the id of a job that was given none: equal jobs have equal ids.

    data is JSON from ``encode_and_read``; the order of its keys does not matter. read
    is what it was read as there, and is used up. 22 characters.
    """
    digest = _begun(event, partition).copy()
    # With fewer than two colons there are not two keys to be sorted.
    digest.update(data if data.count(b":") < 2 else _canonical(data, read))
    return _text(digest.digest())


def fresh_id() -> str:
    """Return a random id of 22 characters, different in every call and process."""
    return _text(os.urandom(_ID_BYTES))


# Many jobs differ in their data only: a copy takes half as long as a new digest.
@lru_cache(maxsize=1024)
def _begun(event: str, partition: str) -> hashlib.blake2b:
    return hashlib.blake2b(f"{event}\0{partition}\0".encode(), digest_size=_ID_BYTES)


def _canonical(data: bytes, read: Any) -> bytes:
    return to_json(_sorted(from_json(data) if read is NOT_READ else read))


def _sorted(value: Any) -> Any:
    """Return a value with all keys sorted; those inside it are sorted in place."""
    if type(value) is dict:
        keys = [*value]
        if keys != (in_order := sorted(keys)):
            value = {key: value[key] for key in in_order}
        parts = value.items()
    elif type(value) is list:
        parts = enumerate(value)
    else:
        return value
    for at, part in parts:
        if type(part) in _NESTED:
            value[at] = _sorted(part)
    return value


def _text(digest: bytes) -> str:
    return b2a_base64(digest).translate(_TO_ID, b"=\n").decode()
