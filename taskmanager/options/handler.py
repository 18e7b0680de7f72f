"""Read the arguments of registerHandler, in any of its forms."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from consumers.errors import UnknownOption
from taskmanager.errors import ConflictingOptions, InvalidOption
from taskmanager.options.checks import positive_s, truth, whole_ms, whole_number
from taskmanager.options.debounce import DEBOUNCE_OPTIONS, handler_debounce
from taskmanager.options.processor import check_retry
from taskmanager.options.routing import names_of
from taskmanager.options.tables import HANDLER, REGISTER


def read_form(positional: tuple[Any, ...], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return handler, event, queue and options from the arguments of registerHandler."""
    for name in given:
        if name not in REGISTER.keywords:
            raise UnknownOption(name, REGISTER.allowed, REGISTER.where)
    keywords = dict(given)
    if len(positional) > 2:
        raise InvalidOption(
            "arguments of registerHandler", positional[2:], "give (handler, {...}) or keywords"
        )
    form: object = {}
    for value in positional:
        if isinstance(value, Mapping):
            form = value
        elif "handler" in keywords:
            raise ConflictingOptions("the first argument", "handler", REGISTER.where)
        else:
            keywords["handler"] = value
    return REGISTER.merge(keywords, form)


def handler_options(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that were given, checked, under the names that Registration uses."""
    keywords = {name: value for name, value in values.items() if name in HANDLER.keywords}
    merged = HANDLER.merge(keywords, values.get("options", {}))
    debounce = handler_debounce(merged)
    options = {
        name: _CHECKS[name](name, value)
        for name, value in merged.items()
        if name not in DEBOUNCE_OPTIONS
    }
    return options if debounce is None else {**options, "debounce": debounce}


_CHECKS: Mapping[str, Callable[[str, Any], Any]] = {
    "max_retries": whole_number,
    "retry_delay_ms": whole_ms,
    "timeout": positive_s,
    "retry": lambda _, given: check_retry(given),
    "payload": lambda _, given: given,
    "repeat": lambda _, given: given,
    "keep_data": truth,
    "requires": names_of,
}
