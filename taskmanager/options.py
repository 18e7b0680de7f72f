"""Which options emit, registerHandler and processor= take, and how their dicts are read.

An option is one line in a table. Inside a dict it may be written in camelCase
or under one of its other names; as a keyword it has one name.
"""

from __future__ import annotations

import inspect
import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from consumers.errors import UnknownOption
from taskmanager.errors import ConflictingOptions, InvalidOption

logger = logging.getLogger(__name__)

P = ParamSpec("P")
R = TypeVar("R")

_HUMP = re.compile(r"(?<=[a-z0-9])([A-Z])")


@dataclass(frozen=True, slots=True)
class Option:
    """An option, and the other names dicts may use for it."""

    name: str
    aliases: tuple[str, ...] = ()


class Table:
    """The options of one call; where names the call in errors."""

    def __init__(self, where: str, *options: Option) -> None:
        self.where = where
        self.options = options
        self._names = {
            spelling: option.name
            for option in options
            for spelling in (option.name, *option.aliases)
        }

    @property
    def allowed(self) -> list[str]:
        """The names that docs use, in the order of the table."""
        return [option.name for option in self.options] or ["none yet"]

    def name_of(self, given: object) -> str | None:
        """Return the option that a dict's key stands for, None when there is none."""
        if not isinstance(given, str):
            return None
        return self._names.get(given) or self._names.get(_HUMP.sub(r"_\1", given).lower())

    def read(self, values: object) -> dict[str, Any]:
        """Return a dict of options under their one name.

        Raises UnknownOption, or ConflictingOptions when two names of an option differ.
        """
        if not isinstance(values, Mapping):
            raise InvalidOption(f"the options of {self.where}", values, "give a dict")
        found: dict[str, tuple[str, Any]] = {}
        for given, value in values.items():
            name = self.name_of(given)
            if name is None:
                raise UnknownOption(given, self.allowed, self.where)
            if name in found and not same(found[name][1], value):
                raise ConflictingOptions(repr(found[name][0]), repr(given), self.where)
            found[name] = (given, value)
        return {name: value for name, (_, value) in found.items()}

    def merge(self, keywords: Mapping[str, Any], values: object) -> dict[str, Any]:
        """Return keywords with the options of a dict beside them; None counts as not given.

        Raises what ``read`` raises, and ConflictingOptions when a keyword and
        the dict give the same option and differ.
        """
        merged = _given(keywords)
        for name, value in _given(self.read(values)).items():
            if name in merged and not same(merged[name], value):
                raise ConflictingOptions(f"the keyword {name!r}", "options", self.where)
            merged[name] = value
        return merged


def naming_options(where: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Have a function raise UnknownOption, not TypeError, for a keyword that it does not take."""

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        # Without self.
        allowed = list(inspect.signature(function).parameters)[1:]

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


def check_processor(given: object) -> None:
    """Refuse what processor= does not take; with ignore_config_errors=True only warn of it."""
    if given is None:
        return
    if not isinstance(given, Mapping):
        raise InvalidOption("processor", given, "give a dict, or leave it out")
    known = {PROCESSOR.name_of(name): value for name, value in given.items()}
    lenient = known.get("ignore_config_errors", False)
    if type(lenient) is not bool:
        raise InvalidOption("ignore_config_errors", lenient, "give True or False")
    for name in given:
        if PROCESSOR.name_of(name) is None:
            _refuse(UnknownOption(name, PROCESSOR.allowed, PROCESSOR.where), lenient)


def _refuse(error: UnknownOption, lenient: bool) -> None:
    if not lenient:
        raise error
    logger.warning("%s; it is ignored", error)


_EMIT_OPTIONS = (
    Option("id"),
    Option("unique"),
    Option("priority"),
    Option("correlation_id"),
    Option("partition"),
)
EMIT = Table("emit", *_EMIT_OPTIONS)
# An item of emit_many: everything that emit takes, as one dict.
EMIT_ITEM = Table(
    "an item of emit_many",
    Option("event"),
    Option("queue"),
    Option("data"),
    Option("options"),
    *_EMIT_OPTIONS,
)
# What registerHandler takes as keywords or in its dicts, and its options={}.
REGISTRATION = Table(
    "registerHandler", Option("handler"), Option("event"), Option("queue"), Option("options")
)
HANDLER = Table("registerHandler's options")
PROCESSOR = Table("processor", Option("ignore_config_errors"))
