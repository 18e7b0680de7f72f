"""Check the names that become part of a key. Nothing else decides which names are allowed."""

from __future__ import annotations

import re
from collections.abc import Iterable

from consumers.errors import InvalidInput, InvalidName

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
# What each start of a worker has behind its name.
_BOOT = re.compile(r"\.[0-9a-f]+$")
_JOB_ID = re.compile(r"[\x21-\x7e]{1,256}")
# The lane of a single event is "event.<event>" where other lanes have their type.
_EVENT_LANE = "event."

_NAME_RULE = (
    "use 1 to 128 of A-Z, a-z, 0-9, dot, underscore and hyphen, starting with a letter or digit"
)
_JOB_ID_RULE = "use 1 to 256 printable ASCII characters without spaces"
_TYPE_RULE = 'a type must not start with "event.", which marks the lanes of single events'
# For jobs that leave the type of their worker open, which are yet to come.
_ANY_TYPE = "any"
_ANY_RULE = 'the type "any" is reserved: name the type of worker, or leave it out for "workers"'


def check_name(kind: str, value: object) -> str:
    """Return value when it is a name, else raise InvalidName.

    kind says what is named (queue, event, partition, type, worker) and stands
    in the error. A type must not start with ``event.``, nor be ``any``.
    """
    if not isinstance(value, str) or _NAME.fullmatch(value) is None:
        raise InvalidName(kind, value, _NAME_RULE)
    if kind == "type" and value.startswith(_EVENT_LANE):
        raise InvalidName(kind, value, _TYPE_RULE)
    if kind == "type" and value == _ANY_TYPE:
        raise InvalidName(kind, value, _ANY_RULE)
    return value


def check_names(kind: str, option: str, given: Iterable[str], most: int) -> tuple[str, ...]:
    """Return the names that an option was given, each once, sorted.

    Raises InvalidName for a value that is not a name and for a text in place of a list, and
    InvalidInput for more than most names.
    """
    if isinstance(given, str):
        raise InvalidName(kind, given, f"give {option} as a list of names")
    names = tuple(sorted({check_name(kind, name) for name in given}))
    if len(names) > most:
        raise InvalidInput(f"{option} names {len(names)} values, the limit is {most}")
    return names


def is_name(text: str) -> bool:
    """Whether a text may be a name."""
    return _NAME.fullmatch(text) is not None


def worker_of(consumer: str) -> str:
    """Return the name of the worker that Redis knows, at this start of it, as a consumer."""
    return _BOOT.sub("", consumer)


def check_job_id(value: object) -> str:
    """Return value when it is 1 to 256 printable ASCII characters without spaces, else raise."""
    if not isinstance(value, str) or _JOB_ID.fullmatch(value) is None:
        raise InvalidName("job id", value, _JOB_ID_RULE)
    return value
