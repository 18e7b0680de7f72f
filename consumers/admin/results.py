"""Wait for the end of jobs: told by the settle, never by asking again and again."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections import defaultdict

from redis.exceptions import RedisError

from consumers.admin.facts import End, Facts
from consumers.admin.inspector import Inspector
from consumers.connections.connector import Connector
from consumers.connections.hints import Hints
from consumers.connections.wire import Wire
from consumers.store.asking import are_live, forget_waiter
from consumers.store.keys import Keys
from consumers.store.scripts import call
from consumers.store.steps import BATCH_ITEMS

logger = logging.getLogger("taskmanager.results")

# A lost message is made good by asking again this often.
ASK_AGAIN = 5.0
_WAITER_TTL_MS = 24 * 3600 * 1000

# A queue's prefix, a job id and its generation: ids and generations are those of one queue.
_Awaited = tuple[str, str, int]


class Results:
    """All waits of one event loop, on one subscription with a channel for each of their queues.

    A wait is registered in the same step that finds the job live, so that its
    end cannot slip between. What the subscription loses is found by a look every
    five seconds and after each reconnect: one call for 500 waits of a queue.
    """

    def __init__(self, connector: Connector, wire: Wire, *, archive: Wire | None = None) -> None:
        self._wire = wire
        self._archive = archive
        self._waiter = secrets.token_hex(16)
        self._told: defaultdict[_Awaited, set[asyncio.Future[End | None]]] = defaultdict(set)
        self._hints = Hints(
            connector,
            {},
            on_hint=lambda _, text: self._end(text),
            on_reconnect=self._look_all,
        )
        self._listening: asyncio.Task[None] | None = None
        self._looking: asyncio.Task[None] | None = None
        self._keys: dict[str, Keys] = {}

    async def wait(self, keys: Keys, job_id: str, generation: int) -> Facts | End:
        """Return how the job of this generation ended, or what is known once it is not live."""
        await self._listen(keys)
        try:
            found = await self._wait(keys, job_id, generation)
        except BaseException:
            self._leave(keys, job_id)
            raise
        if isinstance(found, Facts) and found.generation is not None:
            # It is the end of another generation that we would be told.
            self._leave(keys, job_id)
        return found

    async def _wait(self, keys: Keys, job_id: str, generation: int) -> Facts | End:
        inspector = Inspector(self._wire, keys, archive=self._archive)
        channel, awaited = keys.results(self._waiter), (keys.base, job_id, generation)
        while True:
            told: asyncio.Future[End | None] = asyncio.get_running_loop().create_future()
            self._told[awaited].add(told)
            try:
                facts = await inspector.job(job_id, channel=channel, waiter_ttl_ms=_WAITER_TTL_MS)
                if facts.generation != generation:
                    return facts
                end = await told
                if end is not None:
                    return end
            except RedisError as error:
                logger.debug("waiting for %s: %s", job_id, error)
                await asyncio.sleep(0.2)
            finally:
                self._forget(awaited, told)

    def _leave(self, keys: Keys, job_id: str) -> None:
        """Let no message be sent to us any more, unless others here wait for the job as well."""
        if any((base, other) == (keys.base, job_id) for base, other, _ in self._told):
            return
        step = forget_waiter(keys, job_id, keys.results(self._waiter))
        # Sent and forgotten, so that whoever gives up waits for nothing more.
        self._wire.send(*step.by_source).add_done_callback(_not_sent)

    async def close(self) -> None:
        """End the subscription."""
        self._hints.stop()
        if self._looking is not None:
            self._looking.cancel()
        if self._listening is not None:
            await self._listening

    async def _listen(self, keys: Keys) -> None:
        if keys.base not in self._keys:
            self._keys[keys.base] = keys
            self._hints.add(keys.results(self._waiter), keys.queue)
        if self._listening is None:
            self._listening = asyncio.create_task(self._hints.run(), name="results")
            self._looking = asyncio.create_task(self._look(), name="results-look")
        # Without Redis nothing is heard, and what is asked then waits for it.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ASK_AGAIN):
                await self._hints.subscribed.wait()

    def _end(self, text: str) -> None:
        base, job_id, generation, said, value = text.split(" ", 4)
        # Behind it a newer version may tell more.
        state = said.partition(";")[0]
        # Of what went with a deleted stream there is no end, only what is still known of the id.
        end = End(int(generation), state, value.encode()) if state != "vanished" else None
        for told in self._told.get((base, job_id, int(generation)), ()):
            if not told.done():
                told.set_result(end)

    async def _look(self) -> None:
        """Find the ends whose message was lost."""
        while True:
            await asyncio.sleep(ASK_AGAIN)
            try:
                for keys in list(self._keys.values()):
                    await self._look_at(keys)
            except RedisError as error:
                logger.debug("could not look for jobs that have ended: %s", error)

    async def _look_at(self, keys: Keys) -> None:
        awaited = [(job_id, number) for base, job_id, number in self._told if base == keys.base]
        while awaited:
            question = are_live(keys, awaited[:BATCH_ITEMS])
            flags = await call(self._wire, question)
            # There may be fewer answers than were asked for.
            for (job_id, number), flag in zip(awaited, flags.decode(), strict=False):
                if flag == "0":
                    self._look_again((keys.base, job_id, number))
            awaited = awaited[len(flags) :]

    def _look_again(self, awaited: _Awaited) -> None:
        for told in self._told.get(awaited, ()):
            if not told.done():
                told.set_result(None)

    def _look_all(self) -> None:
        for awaited in self._told:
            self._look_again(awaited)

    def _forget(self, awaited: _Awaited, told: asyncio.Future[End | None]) -> None:
        waiting = self._told[awaited]
        waiting.discard(told)
        if not waiting:
            del self._told[awaited]


def _not_sent(reply: asyncio.Future[object]) -> None:
    if not reply.cancelled() and (error := reply.exception()) is not None:
        logger.debug("could not unregister a wait for the end of a job: %s", error)
