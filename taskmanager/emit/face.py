"""The part of a task manager that producers use: emit jobs."""

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
    """The methods of a task manager that emit jobs."""

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
        """Emit a job. Await the returned Emission to get its JobHandle.

            await tm.emit("send-email", queue="emails", data={"to": "ada@example.com"})
            await tm.emit({"event": "send-email", "queue": "emails", "data": {...}})
            await tm.emit(send_email, data=Email(to="ada@example.com"))

        `event` is the name of the event, or one dict of everything, or the handler function. With a
        function, the job goes to the queue and event it is registered for, and its return
        annotation is the type of the result. EmitArguments lists all other arguments.

        The job is checked before the call returns, and is then on its way, awaited or not. Outside
        a handler, await it: a job that is not awaited may be lost if the event loop ends before
        `stop()`. In an async handler, all its emits are awaited before its job ends, and if one
        fails, the job fails. In a synchronous handler, the call blocks until Redis has the job.

        Before anything is sent, it raises InvalidInput or one of its subclasses, NoEventLoop in a
        thread without an event loop (use `emit_sync`), and OwnJob if a handler emits the id of its
        own job. Awaiting it raises QueueFull, TooManyLanes, BrokenKey, ScheduleRefused,
        NoCapableWorker, or, if Redis did not answer within the setting `emit_timeout`,
        RedisUnavailable.
        """
        return self._emitter.emit(event, arguments)

    async def emit_many(self, items: Iterable[Item]) -> list[JobHandle]:
        """Emit many jobs and return their handles in order, once Redis has all of them.

        Each item is a dict of emit's arguments, or a call that `bind` of a task returned. All items
        are checked before the first is sent: the error for a bad item names its position. Errors
        that come later raise EmitManyError, which has the handles of the jobs that are stored.
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
        """Emit a job from a thread without an event loop, and return once Redis has it.

        Takes the arguments of emit and raises its errors. Works in any thread and in forked
        children (Flask, Django, scripts). On a running event loop it raises LoopIsRunning.
        """
        return self._emitter.emit_sync(event, arguments)

    def capture(self) -> AbstractContextManager[list[CapturedJob]]:
        """Collect the jobs emitted inside a `with` block instead of sending them; for unit tests.

            with tm.capture() as jobs:
                view(request)
            assert jobs[0].data == {"name": "Ada"}

        Jobs are checked as always. It covers everything emitted with this TaskManager and its
        tasks, in all threads, and needs no Redis.
        """
        return self._emitter.capturing()
