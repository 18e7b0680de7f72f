"""What the application's own code raises in a run: whatever can be raised."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping


class Panic(BaseException):
    """No Exception, as when a library written in Rust gives up."""


class Unprintable(Exception):
    """Its text raises as well."""

    def __str__(self) -> str:
        raise Panic("no text")

    __repr__ = __str__


ANYTHING: Mapping[str, type[BaseException]] = {
    it.__name__: it
    for it in (
        KeyError, ZeroDivisionError, OSError, TypeError, StopIteration, Unprintable,
        Panic, SystemExit, KeyboardInterrupt, GeneratorExit, asyncio.CancelledError,
    )
}  # fmt: skip
