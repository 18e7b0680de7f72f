"""Say once what keeps a part from its work, however often it tries."""

from __future__ import annotations

import logging

from redis.exceptions import ConnectionError, TimeoutError

from consumers.connections.wire import NotSent
from consumers.errors import plain_reason

# In one outage these take turns, with many wordings: to a reader they are the same.
_OUTAGE = (ConnectionError, NotSent, TimeoutError)
# A bound for texts that are never twice the same; beyond it all is forgotten.
_MOST_SAID = 100


def reason(error: Exception) -> str:
    """Return in a few words why there is no connection; else what the error says."""
    return plain_reason(str(error))


class Trouble:
    """What a part that tries again and again has to say of its failures.

    An outage is said once, and so is each thing that is refused, by its text;
    the same again is a detail until it is over. what is the beginning of the line.
    """

    def __init__(self, logger: logging.Logger, what: str, level: int = logging.WARNING) -> None:
        self._logger = logger
        self._what = what
        self._level = level
        self._said: set[object] = set()

    def say(self, error: Exception) -> None:
        """Log a failure."""
        kind = _OUTAGE if type(error) in _OUTAGE else str(error)
        level = logging.DEBUG if kind in self._said else self._level
        self._logger.log(level, "%s: %s", self._what, reason(error))
        if len(self._said) >= _MOST_SAID:
            self._said.clear()
        self._said.add(kind)

    def over(self) -> None:
        """Take note that it works again."""
        self._said.clear()
