"""Pass each hint on to the part of a worker that it concerns."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from consumers.connections.clock import ServerClock
from consumers.store import hint_words
from consumers.store.keys import Keys
from consumers.upkeep.promoter import Promoter
from consumers.upkeep.relay import Relay
from consumers.upkeep.service import Service


class Listener:
    """Wakes who has something to do. services are those of the layer above, by queue and name.

    fetch has the fetcher look at the lanes; cancel takes the stream and entry of a job that was
    cancelled while somebody had it.
    """

    def __init__(
        self,
        queues: Mapping[str, Keys],
        *,
        fetch: Callable[[], None],
        cancel: Callable[[tuple[str, str]], None],
        promoters: Mapping[str, Promoter],
        relays: Mapping[str, Relay],
        services: Mapping[tuple[str, str], Service],
        clock: ServerClock,
    ) -> None:
        self._fetch = fetch
        self._cancelled = cancel
        self._queues = queues
        self._promoters = promoters
        self._relays = relays
        self._services = services
        self._clock = clock

    def hint(self, queue: str, hint: str) -> None:
        """Wake who a hint is for."""
        match hint.partition(" ")[0]:
            case hint_words.DUE:
                self._due(queue, hint)
            case hint_words.OUTBOX:
                self._relays[queue].wake()
            case hint_words.CANCEL:
                self._cancel(queue, hint)
            case word if (queue, word) in self._services:
                self._services[queue, word].wake()
            case _:
                self._fetch()

    def look_at_all(self) -> None:
        """Wake everybody: hints may have been lost."""
        self._fetch()
        for service in (*self._services.values(), *self._promoters.values()):
            service.wake()
        for relay in self._relays.values():
            relay.wake()

    def _due(self, queue: str, hint: str) -> None:
        due_ms = int(hint.partition(" ")[2])
        self._promoters[queue].expect((due_ms - self._clock.now_ms()) / 1000)

    def _cancel(self, queue: str, hint: str) -> None:
        _, stream, entry = hint.split(" ")
        self._cancelled((self._queues[queue].stream(stream), entry))
