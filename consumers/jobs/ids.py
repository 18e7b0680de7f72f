"""The ids of jobs that are given none: derived from what the job is, or random."""

from __future__ import annotations

import hashlib
import os
from binascii import b2a_base64
from typing import Any

from pydantic_core import from_json, to_json

_ID_BYTES = 16
_NESTED = (dict, list)
# Like base64url, with a dot for the hyphen: an id that starts with a hyphen
# would be taken for an option on a command line.
_TO_ID = bytes.maketrans(b"+/", b"._")


def default_id(event: str, partition: str, data: bytes) -> str:
    """Return the id of a job that was given none: equal jobs have equal ids.

    data is JSON from ``encode``; the order of its keys does not matter. 22
    characters.
    """
    return DefaultIds(event, partition).id(data, from_json(data))


class DefaultIds:
    """The ids of an event's jobs that were given none; see default_id."""

    __slots__ = ("_begun",)

    def __init__(self, event: str, partition: str) -> None:
        self._begun = hashlib.blake2b(f"{event}\0{partition}\0".encode(), digest_size=_ID_BYTES)

    def id(self, data: bytes, read: Any) -> str:
        """Return the id for JSON and what it is read as, which is used up."""
        # A copy takes half as long as a new digest.
        digest = self._begun.copy()
        # With fewer than two colons there are not two keys to be sorted.
        digest.update(data if data.count(b":") < 2 else to_json(_sorted(read)))
        return _text(digest.digest())


def fresh_id() -> str:
    """Return a random id of 22 characters, different in every call and process."""
    return _text(os.urandom(_ID_BYTES))


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
