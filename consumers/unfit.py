"""Say why an entry is no job of ours, or why its handler does not take its data."""

from __future__ import annotations

from pydantic_core import ValidationError, from_json

from consumers.job import Envelope
from consumers.texts import describe, message_of


def unreadable(envelope: Envelope) -> str | None:
    """Return why an entry is no job: its data or options are no JSON; None when they are."""
    for what, stored in (("data", envelope.data), ("options", envelope.options or b"{}")):
        try:
            value = from_json(stored)
        except ValueError as error:
            return f"its {what} are no JSON: {error}"
        if what == "options" and not isinstance(value, dict):
            return "its options are no JSON object"
    return None


def unfit(error: BaseException) -> str:
    """Return what a payload's type said about data that it does not take.

    A validator that raises what pydantic does not expect is shown with its traceback.
    """
    return message_of(error) if isinstance(error, ValidationError) else describe(error)
