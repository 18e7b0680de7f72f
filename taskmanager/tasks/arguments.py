"""Turn the arguments of a task's emit into its job's data: one object, a key per argument given."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Any

from taskmanager.tasks.errors import InvalidArguments
from taskmanager.tasks.parameters import Parameters


class Binder:
    """Binds arguments as a call of the function would. Defaults are left to the worker."""

    def __init__(self, parameters: Parameters, *, task: str, form: Callable[[], str]) -> None:
        self._parameters = parameters
        self._task = task
        self._form = form
        self._positional = parameters.positional
        self._most = len(self._positional)
        self._required = parameters.required
        # A function without *args, **kwargs and positional-only parameters is bound by name.
        self._keywords = frozenset(
            name for name, it in parameters.given.items() if it.kind is not it.POSITIONAL_ONLY
        )

    def bind(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """Return the data; raises InvalidArguments."""
        data = dict(zip(self._positional, args, strict=False))
        if len(args) > self._most:
            data |= self._surplus(args)
        if kwargs:
            if not self._keywords.issuperset(kwargs) or not data.keys().isdisjoint(kwargs):
                self._check_keywords(data, kwargs)
            data.update(kwargs)
        if not self._required.issubset(data):
            missing = [
                name for name in self._parameters.given if name in self._required - data.keys()
            ]
            raise self._refused(f"{_listed(missing)} missing")
        return data

    def _surplus(self, args: tuple[Any, ...]) -> dict[str, Any]:
        rest = self._parameters.rest
        if rest is not None:
            return {rest: list(args[self._most :])}
        if self._parameters.filled_by_position:
            raise self._not_given(self._parameters.filled_by_position[0])
        plural = "" if self._most == 1 else "s"
        raise self._refused(
            f"it takes {self._most} positional argument{plural}, but got {len(args)}"
        )

    def _check_keywords(self, data: Mapping[str, Any], kwargs: Mapping[str, Any]) -> None:
        known = self._parameters
        for name in kwargs:
            if name in known.contexts or name in known.jobs:
                raise self._not_given(name)
            if name in self._keywords:
                if name in data:
                    raise self._refused(f"{name!r} was given twice")
            elif known.more is None or name in known.given:
                raise self._refused(self._unknown(name))
            elif name in known.taken:
                raise self._refused(
                    f"{name!r} is a parameter and cannot be a key of **{known.more}"
                )

    def _unknown(self, name: str) -> str:
        if name in self._parameters.given:
            return f"{name!r} can only be given by position"
        near = get_close_matches(name, self._keywords, n=1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        return f"it has no parameter {name!r}{hint}"

    def _not_given(self, name: str) -> InvalidArguments:
        return self._refused(f"{name!r} is injected by the worker and cannot be given")

    def _refused(self, fault: str) -> InvalidArguments:
        return InvalidArguments(self._task, fault, self._form())


def _listed(names: list[str]) -> str:
    shown = " and ".join(map(repr, names)) if len(names) < 3 else ", ".join(map(repr, names))
    return f"{shown} is" if len(names) == 1 else f"{shown} are"
