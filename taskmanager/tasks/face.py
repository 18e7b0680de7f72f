"""The part of a task manager that declares tasks."""

from __future__ import annotations

from types import ModuleType

from taskmanager.handlers.face import HandlerFace
from taskmanager.tasks.includers import remember
from taskmanager.tasks.task import Home
from taskmanager.tasks.tasks import StubDecorator, TaskDecorator, Tasks


class TaskFace(HandlerFace):
    """Declares tasks, and includes tasks that were declared elsewhere.

    `task_home` is what its tasks need of it.
    """

    task_home: Home
    _tasks: Tasks

    @property
    def task(self) -> TaskDecorator:
        """Turn a function into a task: you emit it like a call, and a worker makes the call.

            @tm.task
            async def greet(name: str, times: int = 1) -> str: ...

            @tm.task(queue="mail", max_retries=3)
            def send(to: Address, ctx: Context = injected) -> None: ...

            handle = await greet.emit("Ada", times=2)

        TaskOptions lists the options. A parameter annotated as Context or Job is filled by the
        worker. A coroutine function becomes an AsyncTask, any other function a SyncTask.

        Raises InvalidHandler if a worker could not call the function, InvalidOption if the event
        already has another function, and AlreadyStarted while a worker runs.
        """
        return self._tasks.task

    @property
    def stub(self) -> StubDecorator:
        """Declare a task that runs elsewhere, by its signature. It can be emitted but not called.

            @tm.stub(queue="gpu")
            async def render(scene: str, *, frames: int) -> list[str]: ...

        Its options are `event`, `queue` and `deduplicate`, as for `task`. It registers no handler.
        """
        return self._tasks.stub

    def include(self, *modules: str | ModuleType | Tasks) -> None:
        """Add modules with handlers, by import path or as module objects, or Tasks themselves.

        A module's Tasks are included when the module is imported, which happens when a worker
        starts. Raises AlreadyStarted while a worker runs, and InvalidOption for Tasks of another
        TaskManager.
        """
        for it in modules:
            if isinstance(it, Tasks):
                it.join(self.task_home)
            else:
                super().include(it)

    def _open_tasks(self, home: Home) -> None:
        self.task_home = home
        self._tasks = Tasks()
        self._tasks.join(home)
        self._modules.on_import = self._take_tasks
        remember(self)

    def _take_tasks(self, module: ModuleType) -> None:
        for value in list(vars(module).values()):
            if isinstance(value, Tasks):
                value.join(self.task_home)
