"""Which options emit, registerHandler and `processor=` take, and how their dicts are read.

Each option is one line in a table. Inside a dict it may be written in camelCase, or under an
alternative name; as a keyword it may not.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from consumers.errors import UnknownOption
from taskmanager.errors import ConflictingOptions, InvalidOption
from taskmanager.options.signatures import signature_of

P = ParamSpec("P")
R = TypeVar("R")

_HUMP = re.compile(r"(?<=[a-z0-9])([A-Z])")


@dataclass(frozen=True, slots=True)
class Option:
    """An option, its other names, and those allowed only inside dicts."""

    name: str
    aliases: tuple[str, ...] = ()
    in_dicts: tuple[str, ...] = ()


class Table:
    """The options of one call. `where` names the call in errors."""

    def __init__(self, where: str, *options: Option) -> None:
        self.where = where
        self.options = options
        self._one_names = frozenset(option.name for option in options)
        self._names = {
            spelling: option.name
            for option in options
            for spelling in (option.name, *option.aliases, *option.in_dicts)
        }

    @property
    def allowed(self) -> list[str]:
        """The main names, in the order of the table."""
        return [option.name for option in self.options]

    @property
    def keywords(self) -> frozenset[str]:
        """The names that may be used as keywords."""
        return frozenset(name for it in self.options for name in (it.name, *it.aliases))

    def has_names(self, names: Iterable[object]) -> bool:
        """Return whether these are main names of options, and no others."""
        return self._one_names.issuperset(names)

    def name_of(self, given: object) -> str | None:
        """Return the option that a key of a dict means, or None."""
        if not isinstance(given, str):
            return None
        return self._names.get(given) or self._names.get(_HUMP.sub(r"_\1", given).lower())

    def read(self, values: object) -> dict[str, Any]:
        """Return a dict with its options under their main names.

        Raises UnknownOption, and ConflictingOptions if two names of one option differ.
        """
        # A dict is by far the most common, and isinstance with an abstract class is slow.
        if type(values) is not dict and not isinstance(values, Mapping):
            raise InvalidOption(f"the options of {self.where}", values, "give a dict")
        if self.has_names(values):
            return dict(values)
        found: dict[str, tuple[str, Any]] = {}
        for given, value in values.items():
            name = self.name_of(given)
            if name is None:
                raise UnknownOption(given, self.allowed, self.where)
            if name in found:
                self._refuse_contradiction(found[name], (given, value))
            if name not in found or value is not None:
                found[name] = (given, value)
        return {name: value for name, (_, value) in found.items()}

    def _refuse_contradiction(self, one: tuple[str, Any], other: tuple[str, Any]) -> None:
        # Callers pass None for options that were not given to them.
        if one[1] is None or other[1] is None or same(one[1], other[1]):
            return
        raise ConflictingOptions(repr(one[0]), repr(other[0]), self.where)

    def merge(self, keywords: Mapping[str, Any], values: object) -> dict[str, Any]:
        """Return the keywords and the options of a dict, merged, under their main names.

        None counts as not given. Raises what `read` raises, and ConflictingOptions if a keyword and
        the dict set the same option to different values.
        """
        merged = _given(self.read(keywords))
        for name, value in _given(self.read(values)).items():
            if name in merged and not same(merged[name], value):
                raise ConflictingOptions(f"the keyword {name!r}", "options", self.where)
            merged[name] = value
        return merged


def naming_options(where: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Make a function raise UnknownOption, not TypeError, for an unknown keyword."""

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        # Without self.
        allowed = list(signature_of(function).parameters)[1:]

        @wraps(function)
        def checked(*args: P.args, **options: P.kwargs) -> R:
            for name in options:
                if name not in allowed:
                    raise UnknownOption(name, allowed, where)
            return function(*args, **options)

        return checked

    return decorate


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def same(one: object, other: object) -> bool:
    """Return whether two values of an option mean the same; True and 1 do not."""
    return one is other or (type(one) is type(other) and bool(one == other))


# How a job is retried and how long it may run; for emit and registerHandler.
_RUN_OPTIONS = (
    Option("max_retries", in_dicts=("attempts", "retry_count")),
    Option("retry_delay_ms"),
    Option("timeout"),
)
# How many emits become one run; for emit and registerHandler.
_DEBOUNCE_OPTIONS = (
    Option("debounce", ("debounce_ms",)),
    Option("debounce_seconds"),
    Option("debounce_max_wait"),
    Option("debounce_mode"),
)
# Which workers may run a job; for emit and a handler's repeat.
_ROUTING_OPTIONS = (
    Option("type"), Option("requires"), Option("only"), Option("anti_affinity"), Option("region")
)  # fmt: skip
_EMIT_OPTIONS = (
    Option("id"),
    Option("deduplicate"),
    Option("idempotency_key"),
    Option("priority"),
    Option("delay"),
    Option("delay_until"),
    *_RUN_OPTIONS,
    Option("expires"),
    *_DEBOUNCE_OPTIONS,
    Option("debounce_key"),
    Option("repeat"),
    Option("correlation_id"),
    Option("partition"),
    *_ROUTING_OPTIONS,
    Option("reject_unroutable"),
)
EMIT = Table("emit", *_EMIT_OPTIONS)
# All arguments of emit as one dict: of a single emit, or an item of emit_many.
_EMIT_OBJECT = (
    Option("event"), Option("queue"), Option("data"), Option("options"), *_EMIT_OPTIONS
)  # fmt: skip
EMIT_OBJECT = Table("emit's dict", *_EMIT_OBJECT)
EMIT_ITEM = Table("an item of emit_many", *_EMIT_OBJECT)
_HANDLER_OPTIONS = (
    *_RUN_OPTIONS, Option("payload"), Option("retry"), *_DEBOUNCE_OPTIONS, Option("repeat"),
    Option("keep_data"), Option("requires"),
)  # fmt: skip
# What registerHandler takes as keywords or in its dict, and in its options={}.
REGISTER = Table(
    "registerHandler",
    Option("handler"),
    Option("event"),
    Option("queue"),
    Option("options"),
    *_HANDLER_OPTIONS,
)
HANDLER = Table("registerHandler's options", *_HANDLER_OPTIONS)
_TASK_OPTIONS = (Option("event"), Option("queue"), Option("deduplicate"))
# The payload of a task is its signature.
TASK = Table("task", *_TASK_OPTIONS, *(it for it in _HANDLER_OPTIONS if it.name != "payload"))
STUB = Table("stub", *_TASK_OPTIONS)
_REPEAT_OPTIONS = (
    Option("pattern"),
    Option("every"),
    Option("tz"),
    Option("name"),
    Option("missed"),
    Option("overlap"),
    Option("version"),
)
REPEAT = Table("emit's repeat", *_REPEAT_OPTIONS)
# What an emit sets beside its repeat, a handler sets inside it.
HANDLER_REPEAT = Table(
    "registerHandler's repeat",
    *_REPEAT_OPTIONS,
    Option("data"),
    Option("priority"),
    Option("partition"),
    *_ROUTING_OPTIONS,
)
PROCESSOR = Table(
    "processor",
    Option("retry"),
    Option("dlq"),
    Option("ignore_config_errors"),
    Option("debounce", ("debounce_seconds",)),
    Option("debounce_ms"),
)
RETRY = Table(
    "processor's retry",
    Option("max_retries", in_dicts=("attempts", "retry_count")),
    Option("retry_delay_ms"),
    Option("max_delay_ms"),
    Option("multiplier"),
    Option("jitter"),
    Option("backoff"),
)
DLQ = Table(
    "processor's dlq",
    Option("stream"),
    Option("enabled"),
    Option("max_len"),
    Option("max_age"),
    Option("max_bytes"),
)
