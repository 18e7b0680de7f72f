"""Say once what keeps a part from its work, however often it tries."""

from __future__ import annotations

import logging

from redis.exceptions import ConnectionError, RedisError, TimeoutError

from consumers.wire import NotSent

# In one outage these take turns, with many wordings: to a reader they are the same.
_OUTAGE = (ConnectionError, NotSent, TimeoutError)


class Trouble:
    """What a part that tries again and again has to say of its failures.

    The first is a warning, and one of another kind is; the rest are details until
    it is over. what is the beginning of the line.
    """

    def __init__(self, logger: logging.Logger, what: str) -> None:
        self._logger = logger
        self._what = what
        self._kind: object = None

    def say(self, error: RedisError) -> None:
        """Log a failure."""
        kind = _OUTAGE if type(error) in _OUTAGE else type(error)
        level = logging.DEBUG if kind == self._kind else logging.WARNING
        self._logger.log(level, "%s: %s", self._what, error)
        self._kind = kind

    def over(self) -> None:
        """Take note that it works again."""
        self._kind = None
