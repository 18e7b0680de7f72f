"""Emit jobs: the part of a task manager that producers use."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Mapping
from contextlib import AbstractContextManager
from typing import Any, Concatenate, TypeVar, Unpack, overload

from consumers.jobs.job import Job
from taskmanager.emit.capture import CapturedJob
from taskmanager.emit.emission import Emission
from taskmanager.emit.emitter import Emitter
from taskmanager.handles.handle import JobHandle
from taskmanager.handles.sync_handle import SyncJobHandle
from taskmanager.options.arguments import EmitArguments, EmitWithoutData, with_manual
from taskmanager.options.request import Item

D = TypeVar("D")
R = TypeVar("R")


class EmitFace:
    """The part of a task manager that emits."""

    _emitter: Emitter

    @overload
    def emit(
        self, event: str | Mapping[str, Any], **arguments: Unpack[EmitArguments]
    ) -> Emission[Any]: ...
    @overload
    def emit(
        self,
        event: Callable[Concatenate[Job[D], ...], Coroutine[Any, Any, R]],
        *,
        data: D,
        **arguments: Unpack[EmitWithoutData],
    ) -> Emission[R]: ...
    @overload
    def emit(
        self,
        event: Callable[Concatenate[Job[D], ...], R],
        *,
        data: D,
        **arguments: Unpack[EmitWithoutData],
    ) -> Emission[R]: ...
    @with_manual(EmitArguments)
    def emit(self, event: Any, **arguments: Any) -> Emission[Any]:
        """Emit a job; await what is returned to have it confirmed and get its JobHandle.

            await tm.emit("send-email", queue="emails", data={"to": "ada@example.com"})
            await tm.emit({"event": "send-email", "queue": "emails", "data": {...}})
            await tm.emit(send_email, data=Email(to="ada@example.com"))

        event is its name, or one dict of all, or the function that handles it: then the queue
        is the one it is registered in, and the result is read as its return annotation says.
        What else may be given stands below, and in EmitArguments. The job is checked and on its way
        when the call returns, awaited or not. Outside a handler, what was not
        awaited may be lost with an event loop that ends: await it, or leave
        ``async with tm`` or call stop() before. In a handler, it is awaited
        before the job ends, and a failure of it fails the job; in a synchronous
        handler the call itself blocks until confirmed.

        Raises InvalidInput of some kind before anything is sent, NoEventLoop in
        a thread without a loop (use emit_sync), OwnJob for the id that is
        running. Awaiting raises QueueFull, TooManyLanes, BrokenKey or, when
        Redis did not answer for emit_timeout seconds, RedisUnavailable.
        """
        return self._emitter.emit(event, arguments)

    async def emit_many(self, items: Iterable[Item]) -> list[JobHandle]:
        """Emit many jobs, each a dict of what emit takes or a call that a task's bind returned.

        Returns their handles in order.

        All are checked before the first is sent. Failures later raise
        EmitManyError, which has the handles of the jobs that are stored.
        """
        return await self._emitter.emit_many(items)

    @overload
    def emit_sync(
        self, event: str | Mapping[str, Any], **arguments: Unpack[EmitArguments]
    ) -> SyncJobHandle[Any]: ...
    @overload
    def emit_sync(
        self,
        event: Callable[Concatenate[Job[D], ...], Coroutine[Any, Any, R]],
        *,
        data: D,
        **arguments: Unpack[EmitWithoutData],
    ) -> SyncJobHandle[R]: ...
    @overload
    def emit_sync(
        self,
        event: Callable[Concatenate[Job[D], ...], R],
        *,
        data: D,
        **arguments: Unpack[EmitWithoutData],
    ) -> SyncJobHandle[R]: ...
    def emit_sync(self, event: Any, **arguments: Any) -> SyncJobHandle[Any]:
        """Emit a job from a thread without an event loop; return when Redis has it.

        Takes what emit takes. Works in any thread and in forked children (Flask, Django,
        scripts). On a running event loop it raises LoopIsRunning.
        """
        return self._emitter.emit_sync(event, arguments)

    def capture(self) -> AbstractContextManager[list[CapturedJob]]:
        """Collect what is emitted within, checked as always, and send nothing; for unit tests.

            with tm.capture() as jobs:
                view(request)
            assert jobs[0].data == {"name": "Ada"}

        It counts for this TaskManager in all threads, its tasks included, and needs no Redis.
        """
        return self._emitter.capturing()
