"""Turn values into stored JSON and back."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from pydantic_core import (
    PydanticSerializationError,
    SchemaSerializer,
    core_schema,
    from_json,
    to_json,
)

from consumers.errors import NotSerializable, TooLarge

PAYLOAD_LIMIT = 256 * 1024
RESULT_LIMIT = 64 * 1024

# Dumps models and dataclasses, and leaves everything else as it is.
_PLAIN = SchemaSerializer(core_schema.any_schema())


# Says what of a value its JSON would lose; None when nothing.
Loss = Callable[[object], str | None]


def encode(value: object, *, what: str, limit: int, loss: Loss | None = None) -> bytes:
    """Return value as JSON of at most limit bytes; see encode_and_read."""
    return encode_and_read(value, what, limit, loss)[0]


def encode_and_read(
    value: object, what: str, limit: int, loss: Loss | None = None
) -> tuple[bytes, Any]:
    """Return value as JSON of at most limit bytes, and what that is read as.

    Models and dataclasses are dumped, dates become ISO 8601 strings. Raises
    NotSerializable for bytes, sets, NaN, Infinity, lone surrogates, iterators,
    keys that become the same text and what has no JSON form, TooLarge over the
    limit; what names the value there. loss is given for a value that will be read
    as its own type again: it is asked about what is not JSON already, and computed
    fields are left out.
    """
    round_trip = loss is not None
    try:
        data = to_json(value, round_trip=round_trip)
    except (PydanticSerializationError, ValueError, RecursionError) as error:
        raise NotSerializable(what, _reason(error)) from error
    except Exception as error:
        # A model may bring a serializer of its own, which may raise anything.
        raise NotSerializable(what, f"{type(error).__name__}: {error}") from error
    if len(data) > limit:
        raise TooLarge(what, len(data), limit)
    # to_json writes NaN and Infinity, which are not JSON, and cannot refuse them.
    # What is nested deeper than 200 or has more than 4,300 digits cannot be read.
    try:
        # Most texts differ from job to job: looking them up in pydantic's cache costs more.
        again = from_json(data, allow_inf_nan=False, cache_strings="keys")
    except ValueError as error:
        raise NotSerializable(what, _unreadable(data, error)) from error
    try:
        is_same = bool(again == value)
    except Exception:
        # A value may bring a comparison of its own, which may raise anything.
        is_same = False
    if not is_same:
        _refuse_bytes(value, data, what, round_trip=round_trip)
        _refuse_ambiguous(value, what)
        _refuse_loss(value, what, loss)
    return data, again


def decode(data: bytes) -> Any:
    """Return the value of stored JSON; raises ValueError when it is not JSON."""
    return from_json(data)


def _reason(error: Exception) -> str:
    return str(error).removeprefix("Error serializing to JSON: ")


def _unreadable(data: bytes, error: ValueError) -> str:
    """Return why JSON of ours is not read again."""
    try:
        ambiguity = _ambiguity(from_json(data))
    except ValueError:
        ambiguity = None
    return ambiguity or f"it could not be read again ({error})"


def _refuse_bytes(value: object, data: bytes, what: str, *, round_trip: bool) -> None:
    # to_json has no mode that refuses bytes, but bytes are the only values that
    # differ between two modes; an iterator differs because it is used up.
    if to_json(value, bytes_mode="hex", round_trip=round_trip) != data:
        raise NotSerializable(what, "it holds bytes or an iterator")


def _refuse_ambiguous(value: object, what: str) -> None:
    try:
        reason = _ambiguity(_PLAIN.to_python(value))
    except Exception as error:
        raise NotSerializable(what, f"{type(error).__name__}: {error}") from error
    if reason is not None:
        raise NotSerializable(what, reason)


def _refuse_loss(value: object, what: str, loss: Loss | None) -> None:
    if loss is None:
        return
    try:
        reason = loss(value)
    except Exception as error:
        # A model may bring validators of its own, which may raise anything.
        raise NotSerializable(what, f"{type(error).__name__}: {error}") from error
    if reason is not None:
        raise NotSerializable(what, reason)


def _ambiguity(value: Any) -> str | None:
    """Return why value would be written otherwise elsewhere, or be lost; None when it would not."""
    if isinstance(value, set | frozenset):
        # Their order differs from process to process, and the default id with it.
        return "it holds a set, which has no order: use a list"
    if isinstance(value, float | Decimal) and not math.isfinite(value):
        return f"it holds {value}, which JSON does not have: use None or a string instead"
    if isinstance(value, Mapping):
        return _ambiguous_keys(value) or _first_ambiguity([*value, *value.values()])
    return _first_ambiguity(value) if isinstance(value, list | tuple | deque) else None


def _ambiguous_keys(value: Mapping[Any, Any]) -> str | None:
    if all(type(key) is str for key in value):
        return None
    written = {to_json({key: None}) for key in value}
    return "two keys of a dict become the same string" if len(written) < len(value) else None


def _first_ambiguity(values: Any) -> str | None:
    return next((reason for it in values if (reason := _ambiguity(it)) is not None), None)
