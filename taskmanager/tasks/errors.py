"""The errors of tasks.

TaskManagerError                          (consumers.errors)
├── InvalidInput (ValueError)             (consumers.errors)
│   ├── InvalidArguments (TypeError)      a task cannot be called like that
│   └── InvalidPayload                    (taskmanager.errors)
│       └── UnknownParameters             data has keys that are not parameters of the task
└── NotIncluded                           a task belongs to no TaskManager yet
"""

from __future__ import annotations

from collections.abc import Sequence

from consumers.errors import InvalidInput, TaskManagerError
from processors.retries.newer import shown
from taskmanager.errors import InvalidPayload


class InvalidArguments(InvalidInput, TypeError):
    """Raised when a task is emitted with arguments that its function does not take.

    `task` is the name of the task. It is a TypeError, as from a call. Nothing was sent.
    """

    def __init__(self, task: str, fault: str, form: str) -> None:
        super().__init__(f"{task}.emit: {fault}. It takes {form}; nothing was sent")
        self.task = task


class UnknownParameters(InvalidPayload):
    """Raised when an event is emitted by name, with data that its task does not take.

    `names` are the keys of the data that are not parameters, `queue` and `event` name the task, and
    `errors` has one entry per key in pydantic's format. Nothing was sent.
    """

    def __init__(
        self, queue: str, event: str, names: Sequence[str], parameters: Sequence[str]
    ) -> None:
        takes = ", ".join(parameters) or "no parameters"
        InvalidInput.__init__(
            self,
            f"the data of {event!r} has unknown parameters ({shown(names)}): its task in queue "
            f"{queue!r} takes {takes}; nothing was sent",
        )
        self.errors = [
            {"type": "extra_forbidden", "loc": (name,), "msg": "unknown parameter", "input": None}
            for name in names
        ]
        self.names = list(names)
        self.queue = queue
        self.event = event


class NotIncluded(TaskManagerError):
    """Raised when you emit a task that does not belong to a TaskManager yet.

    `task` is its name. Include its Tasks with `tm.include(tasks)`, or name the app:
    `Tasks(app=...)`.
    """

    def __init__(self, task: str) -> None:
        super().__init__(
            f"task {task!r} does not belong to a TaskManager yet: call tm.include(tasks), or name "
            'the TaskManager with Tasks(app="shop.app:tm")'
        )
        self.task = task
