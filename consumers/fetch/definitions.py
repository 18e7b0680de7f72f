"""What the routes of the queues require, as far as their lanes are listed."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from redis.exceptions import ResponseError

from consumers.connections.trouble import Trouble
from consumers.jobs.envelope import read_envelope
from consumers.jobs.lanes import Lane
from consumers.jobs.routes import Route, definition_in
from consumers.store.keys import Keys

logger = logging.getLogger("taskmanager.worker")

Ask = Callable[..., Awaitable[list[Any]]]
Known = Mapping[str, Route]

NONE: Known = MappingProxyType({})
# Entries are looked at only where a definition was deleted, and each may be as large as a payload.
_STREAMS_AT_ONCE = 8
_ENTRIES = 3


class Definitions:
    """The routes of each queue by their names. Scripts define them as they open the first lane.

    A definition that somebody deleted is found in the jobs, which carry it, and written again.
    `ask` sends commands and returns their replies.
    """

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._known: dict[Keys, dict[str, Route]] = {}
        self._trouble = defaultdict[Keys, Trouble](
            lambda: Trouble(logger, "what routes require cannot be read", logging.ERROR)
        )

    def of(self, keys: Keys) -> Known:
        """Return the routes of a queue that are known."""
        return self._known.get(keys, NONE)

    async def learn(self, keys: Keys, lanes: Sequence[Lane]) -> Known:
        """Return the routes of listed lanes; asks Redis for those that are not known yet."""
        named = {lane.route for lane in lanes if lane.route}
        if not named:
            self._known.pop(keys, None)
            return NONE
        known = self._known.get(keys, {})
        routes = {name: known[name] for name in named & known.keys()}
        if unknown := sorted(named - routes.keys()):
            routes |= await self._defined(keys, unknown)
            if lost := named - routes.keys():
                routes |= await self._carried(keys, [it for it in lanes if it.route in lost])
        self._known[keys] = routes
        return routes

    async def _defined(self, keys: Keys, names: Sequence[str]) -> dict[str, Route]:
        (found,) = await self._ask(("HMGET", keys.routes, *names))
        if isinstance(found, ResponseError):
            self._trouble[keys].say(found)
            return {}
        self._trouble[keys].over()
        pairs = zip(names, found, strict=True)
        return _parsed((name, definition) for name, definition in pairs if definition is not None)

    async def _carried(self, keys: Keys, lanes: Sequence[Lane]) -> dict[str, Route]:
        """Return the routes that the jobs in some lanes carry, and define them again."""
        streams = [(it.route, key) for it in lanes for key in (keys.lane(it), keys.front(it))]
        routes: dict[str, Route] = {}
        for at in range(0, len(streams), _STREAMS_AT_ONCE):
            some = streams[at : at + _STREAMS_AT_ONCE]
            looks = [("XRANGE", key, "-", "+", "COUNT", _ENTRIES) for _, key in some]
            for (name, _), entries in zip(some, await self._ask(*looks), strict=True):
                if isinstance(entries, list):
                    routes |= _parsed((name, _carried_by(fields)) for _, fields in entries)
        if routes:
            pairs = (part for it in routes.values() for part in (it.name, it.json))
            (said,) = await self._ask(("HSET", keys.routes, *pairs))
            logger.log(
                logging.DEBUG if isinstance(said, ResponseError) else logging.WARNING,
                "%d routes of queue %s had lost their definitions: found in their jobs",
                len(routes), keys.queue,
            )  # fmt: skip
        return routes


def _parsed(definitions: Iterable[tuple[str, object]]) -> dict[str, Route]:
    routes = ((name, Route.parse(name, it)) for name, it in definitions)
    return {name: route for name, route in routes if route is not None}


def _carried_by(fields: Sequence[bytes]) -> object:
    """Return the definition in an entry, None if there is none."""
    envelope = read_envelope(fields)
    return None if envelope is None else definition_in(envelope.options)
