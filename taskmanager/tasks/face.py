"""The part of a task manager with which tasks are declared."""

from __future__ import annotations

from types import ModuleType

from taskmanager.handlers.face import HandlerFace
from taskmanager.tasks.includers import remember
from taskmanager.tasks.task import Home
from taskmanager.tasks.tasks import StubDecorator, TaskDecorator, Tasks


class TaskFace(HandlerFace):
    """Declares tasks, and includes those that were declared elsewhere.

    task_home is what its tasks have of it.
    """

    task_home: Home
    _tasks: Tasks

    @property
    def task(self) -> TaskDecorator:
        """Make a task of a function: a worker calls it with the arguments of its emits.

            @tm.task
            async def greet(name: str, times: int = 1) -> str: ...

            @tm.task(queue="mail", max_retries=3)
            def send(to: Address, ctx: Context = injected) -> None: ...

            handle = await greet.emit("Ada", times=2)

        Parameters that are annotated as Context or Job are filled by the worker. TaskOptions
        says which options there are. Raises InvalidHandler for what a worker cannot call,
        InvalidOption for a second function of one event, AlreadyStarted when the worker runs.
        """
        return self._tasks.task

    @property
    def stub(self) -> StubDecorator:
        """Make a task that runs elsewhere of its signature: it is emitted and cannot be called.

        @tm.stub(queue="gpu")
        async def render(scene: str, *, frames: int) -> list[str]: ...

        event, queue and deduplicate are its options.
        """
        return self._tasks.stub

    def include(self, *modules: str | ModuleType | Tasks) -> None:
        """Name more modules with handlers, or give Tasks; see the argument include=.

        Of a module the Tasks in its variables are included when it is imported.
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
