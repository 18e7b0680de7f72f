"""The loop of everything that a worker does beside its jobs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TypeAlias

from redis.exceptions import RedisError

from consumers.chance import chance
from consumers.connections.trouble import Trouble
from consumers.connections.wire import Wire
from consumers.store.keys import Keys
from consumers.upkeep.alarm import Alarm

# What hints tell of is looked at this often (s), however many of them were lost.
LOOK = 2.0
# What is only done now and then is done about this often (s).
ROUND = 30.0


class Service:
    """Takes one turn after another until cancelled; an error delays the next, it never ends this.

    logger is that of what works here, failed what it says of an error that is not Redis'.
    """

    # Seconds until the next turn, where the turn itself does not tell.
    interval: float

    def __init__(self, logger: logging.Logger, *, failed: str) -> None:
        self._logger = logger
        self._failed = failed
        self._alarm = Alarm()

    def wake(self) -> None:
        """There may be something to do: take the next turn as soon as this one is over."""
        self._alarm.ring()

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            self._alarm.reset()
            await self._sleep(await self._turn())

    async def _turn(self) -> float:
        """Do what is to be done, whatever fails; return the seconds until the next turn."""
        raise NotImplementedError

    async def _sleep(self, seconds: float) -> None:
        await self._alarm.sleep(seconds)


class Steps(Service):
    """A service whose turn is one step. trouble says what keeps it from its work."""

    interval = LOOK

    def __init__(self, logger: logging.Logger, trouble: Trouble, *, failed: str) -> None:
        super().__init__(logger, failed=failed)
        self._trouble = trouble

    async def step(self) -> float | None:
        """Do what is to be done now; return the seconds until the next step, None: interval."""
        raise NotImplementedError

    async def _turn(self) -> float:
        try:
            wait = await self.step()
        except RedisError as error:
            return self._refused(error)
        except Exception:
            self._logger.exception(self._failed)
            return self.interval
        self._trouble.over()
        return self.interval if wait is None else wait

    def _refused(self, error: RedisError) -> float:
        """Say what Redis did not do; return the seconds until the next step."""
        self._trouble.say(error)
        return self.interval


class Rounds(Service):
    """A service whose turn is a round of some queues; what fails in one keeps no other waiting.

    undone is what the log says of a queue that Redis did not let it work in.
    """

    interval = ROUND

    def __init__(
        self, logger: logging.Logger, queues: Sequence[Keys], *, undone: str, failed: str
    ) -> None:
        super().__init__(logger, failed=failed)
        self._queues = queues
        self._undone = undone

    async def run(self) -> None:
        """Work until cancelled; the first round comes an interval after the start."""
        await self._sleep(self._until_next())
        await super().run()

    async def visit(self, keys: Keys) -> None:
        """Do what is to be done in one queue."""
        raise NotImplementedError

    async def _turn(self) -> float:
        for keys in self._queues:
            try:
                await self.visit(keys)
            except RedisError as error:
                self._logger.debug(self._undone, keys.queue, error)
            except Exception:
                self._logger.exception(self._failed, keys.queue)
        return self._until_next()

    def _until_next(self) -> float:
        # Without jitter every worker of one deploy would come at the same moment.
        return self.interval * chance.uniform(0.75, 1.25)


# Makes what the layer above runs besides the jobs of a queue, on the consumer's connection.
ServiceMaker: TypeAlias = Callable[[Wire, Keys], Service]
