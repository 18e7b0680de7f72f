"""Read durations and rates as people write them."""

from __future__ import annotations

import re

import click

_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?) *(ms|[smhdw]?)")
_RATE = re.compile(r"([0-9]+(?:\.[0-9]+)?)(?:/([smh]))?")
_SECONDS = {"": 1, "ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 24 * 3600, "w": 7 * 24 * 3600}


def duration(text: str | float) -> float:
    """Return a duration in seconds: 90, 0.5, 50ms, 30s, 5m, 2h, 7d; raises BadParameter."""
    found = _DURATION.fullmatch(str(text))
    if found is None:
        raise click.BadParameter(
            f"{text!r} is not a duration: give seconds, or a number followed by ms, s, m, h, d or "
            "w, for example 90 or 7d"
        )
    return float(found[1]) * _SECONDS[found[2]]


def milliseconds(text: str | float) -> int:
    """Return a duration, written as above, in whole milliseconds; BadParameter for less than 1."""
    seconds = duration(text)
    if 0 < seconds < _SECONDS["ms"]:
        raise click.BadParameter(f"{text!r} is shorter than 1ms: give 1ms or more, or 0 for none")
    return round(seconds * 1000)


def rate(text: str | float) -> float:
    """Return a rate per second: 50, 50/s, 600/m, 1000/h; raises BadParameter, even for 0."""
    found = _RATE.fullmatch(str(text))
    a_second = float(found[1]) / _SECONDS[found[2] or "s"] if found else 0.0
    if not a_second:
        raise click.BadParameter(
            f"{text!r} is not a rate: give jobs per second, above 0, or for example 600/m"
        )
    return a_second
