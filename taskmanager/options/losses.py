"""Find what part of a payload would arrive differently from how it was emitted.

JSON has no secrets and no subclasses, and a model may read other names than it writes. So a model
is read back as its own type, as a handler of that type does. Secrets elsewhere are looked for one
by one.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pydantic_core import ValidationError, to_json

Path = tuple[object, ...]

# Marks a part that did not come back.
_NOTHING = object()

_OF_SECRETS = "a secret would be stored as asterisks: pass its text, or give its field a serializer"
_OF_A_SUBCLASS = (
    "a value would be lost when the model is read again, because the field is annotated with a "
    "base class: annotate it with the subclass or a union"
)
_OF_A_CHANGE = (
    "the value would change when the model is read again: make the field read (validators, "
    "validation_alias) and write (serializers, serialization_alias) the same form"
)


def loss_in(value: object, path: Path = ()) -> str | None:
    """Return which part of a value would be lost, and why; None if nothing would."""
    if hasattr(type(value), "__pydantic_validator__"):
        return _loss_in_model(value, path)
    if _is_masked(value):
        return f"at {_name(path)} {_OF_SECRETS}"
    found = (loss_in(part, (*path, at)) for at, part in _parts(value))
    return next((loss for loss in found if loss is not None), None)


def _loss_in_model(model: Any, path: Path) -> str | None:
    try:
        again = read_again(type(model).__pydantic_validator__, to_json(model, round_trip=True))
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        return f"at {_name((*path, *fault['loc']))} it could not be read again: {fault['msg']}"
    given, came = _dumped(model), _dumped(again)
    if _equal(given, came):
        return None
    lost = _difference(given, came, path)
    return None if lost is None else f"at {_name(lost[0])} {lost[1]}"


def read_again(validator: Any, data: bytes) -> Any:
    """Return the JSON as a value of the type; raises pydantic's ValidationError.

    A field may be read by its own name as well: that is what is written if its alias is for reading
    only.
    """
    return validator.validate_json(data, by_alias=True, by_name=True)


def _dumped(model: Any) -> Any:
    """Return the values of a model, including those that its fields do not declare."""
    serializer = type(model).__pydantic_serializer__
    return serializer.to_python(model, round_trip=True, serialize_as_any=True)


def _difference(given: object, came: object, path: Path) -> tuple[Path, str] | None:
    """Return where the value that came back differs from the given one, and the likely reason."""
    if _is_masked(given):
        return None if _equal(given, came) else (path, _OF_SECRETS)
    if came is _NOTHING:
        return path, _OF_A_SUBCLASS
    parts = dict(_parts(given))
    if not parts:
        return None if _alike(given, came) else (path, _OF_A_CHANGE)
    others = dict(_parts(came))
    for at, part in parts.items():
        lost = _difference(part, others.get(at, _NOTHING), (*path, at))
        if lost is not None:
            return lost
    return None


def _alike(given: object, came: object) -> bool:
    """Return whether two values mean the same, even if their types define no comparison."""
    try:
        # In the hour that clocks show twice, moments of two zones are never equal.
        return _equal(given, came) or to_json(given) == to_json(came)
    except Exception:
        # A value without a JSON form went through the field's serializer.
        return True


def _equal(given: object, came: object) -> bool:
    try:
        return bool(given == came)
    except Exception:
        # Comparing two arrays, for example, gives an array.
        return False


def _is_masked(value: object) -> bool:
    """Return whether JSON shows asterisks for a value, as for pydantic's non-empty secrets."""
    secret = getattr(type(value), "get_secret_value", None)
    return secret is not None and str(value) != secret(value)


def _parts(value: object) -> Iterator[tuple[object, Any]]:
    if isinstance(value, Mapping):
        yield from value.items()
    elif isinstance(value, list | tuple | deque):
        yield from enumerate(value)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        yield from ((it.name, getattr(value, it.name)) for it in dataclasses.fields(value))


def _name(path: Iterable[object]) -> str:
    return ".".join(map(str, path)) or "the top level"
