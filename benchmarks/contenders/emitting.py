"""Emit jobs in each of the ways that are measured, and print how long it took.

Who calls is connected, so that the time is that of the emits alone.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any

import told
from payloads import Payload, payload

IN_FLIGHT = 100
PACE_S = 0.020
# For those whose bulk is many calls at once: fewer and more of them are slower.
GATHERED = 100

One = Callable[[Payload], Awaitable[Any]]
Many = Callable[[Sequence[Payload]], Awaitable[Any]]


async def emit(mode: str, one: One, many: Many | None = None, *, batch: int = GATHERED) -> None:
    """Emit in a mode, with a call for one job and one for a batch; print what it took.

    Without many a batch is that many calls for one at once.
    """
    gather: Many = many or (lambda batch: asyncio.gather(*map(one, batch)))
    if mode == "emit-bulk":
        tell(await _in_bulk(gather, batch))
        return
    began = time.perf_counter()
    if mode == "emit-concurrent":
        await _concurrently(one)
    else:
        await _one_by_one(one, PACE_S if mode == "emit-paced" else 0)
    tell(time.perf_counter() - began)


async def _in_bulk(many: Many, batch: int) -> float:
    """Return how long the calls took, without the making of what they are given."""
    spent = 0.0
    for some in batches(payloads(), batch):
        began = time.perf_counter()
        await many(some)
        spent += time.perf_counter() - began
    return spent


async def _concurrently(one: One) -> None:
    waiting = payloads()

    async def emit_on() -> None:
        for it in waiting:
            await one(it)

    await asyncio.gather(*(emit_on() for _ in range(IN_FLIGHT)))


async def _one_by_one(one: One, pace_s: float) -> None:
    for it in payloads():
        await one(it)
        if pace_s:
            await asyncio.sleep(pace_s)


def emit_blocking(
    mode: str,
    one: Callable[[Payload], Any],
    many: Callable[[Sequence[Payload]], Any] | None = None,
    *,
    batch: int = GATHERED,
    threads: int = IN_FLIGHT,
) -> None:
    """Emit in a mode as emit does, with calls that block.

    Several in flight are as many threads. Without many a bulk is one call after the
    other, which a GIL leaves faster than threads.
    """
    if mode == "emit-bulk" and many is not None:
        tell(_in_bulk_blocking(many, batch))
        return
    began = time.perf_counter()
    if mode == "emit-concurrent":
        _in_threads(one, threads)
    else:
        _one_after_the_other(one, PACE_S if mode == "emit-paced" else 0)
    tell(time.perf_counter() - began)


def _in_bulk_blocking(many: Callable[[Sequence[Payload]], Any], batch: int) -> float:
    spent = 0.0
    for some in batches(payloads(), batch):
        began = time.perf_counter()
        many(some)
        spent += time.perf_counter() - began
    return spent


def _in_threads(one: Callable[[Payload], Any], threads: int) -> None:
    numbers = iter(range(told.JOBS))

    def emit_on(_: int) -> None:
        for number in numbers:
            one(payload(number))

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(emit_on, range(threads)))


def _one_after_the_other(one: Callable[[Payload], Any], pace_s: float) -> None:
    for it in payloads():
        one(it)
        if pace_s:
            time.sleep(pace_s)


def payloads() -> Iterator[Payload]:
    """Yield the payloads, each made when it is asked for."""
    return map(payload, range(told.JOBS))


def batches(payloads: Iterator[Payload], size: int) -> Iterator[list[Payload]]:
    """Yield the payloads in lists of at most size."""
    while some := list(islice(payloads, size)):
        yield some


def tell(seconds: float) -> None:
    """Print the one line that an emitting contender prints."""
    print(json.dumps({"jobs": told.JOBS, "seconds": seconds}), flush=True)
