"""Say why an entry is not a job of ours, or why its handler does not take its data."""

from __future__ import annotations

import logging

from pydantic_core import ValidationError, from_json

from consumers.jobs.envelope import RAW_LIMIT, Envelope
from consumers.jobs.job import read_options
from consumers.jobs.outcome import Buried
from consumers.jobs.texts import describe
from consumers.store.delivery import Delivery

logger = logging.getLogger("taskmanager.worker")

# Of a list with 100,000 wrong items each is a fault, and pydantic's own text names them all.
_FAULTS_SHOWN = 20


def foreign(delivery: Delivery, why: str = "it does not have the fields of a job") -> Buried:
    """Return the burial of an entry that is not a job of ours, with its raw bytes (G13)."""
    logger.error("entry %s of %s is not a job: %s", delivery.entry, delivery.stream.key, why)
    return Buried("foreign", why, delivery.envelope.data[:RAW_LIMIT])


def unreadable(envelope: Envelope) -> str | None:
    """Return why an entry is not a job: its data or options are no JSON; None when they are."""
    try:
        from_json(envelope.data)
    except ValueError as error:
        return f"its data is not JSON: {error}"
    try:
        if envelope.options:
            read_options(envelope.options)
    except ValueError as error:
        return f"its options cannot be read: {error}"
    return None


def unfit(error: BaseException) -> str:
    """Return what a payload's type said about data that it does not take.

    The values stay out: they may be secrets, and the dead letter has them. A validator
    that raises what pydantic does not expect is shown with its traceback.
    """
    if not isinstance(error, ValidationError):
        return describe(error)
    faults = error.errors(include_url=False, include_context=False, include_input=False)
    shown = [_line(fault["loc"], fault["msg"]) for fault in faults[:_FAULTS_SHOWN]]
    more = len(faults) - len(shown)
    return "\n".join([*shown, f"and {more:,} more faults"] if more else shown)


def _line(place: tuple[int | str, ...], message: str) -> str:
    return f"{'.'.join(map(str, place)) or 'the data'}: {message}"
