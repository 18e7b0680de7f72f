"""The errors of tasks.

TaskManagerError                          (consumers.errors)
├── InvalidInput (ValueError)             (consumers.errors)
│   ├── InvalidArguments (TypeError)      a task cannot be called like that
│   └── InvalidPayload                    (taskmanager.errors)
│       └── UnknownParameters             data names what the event's task does not take
└── NotIncluded                           a task belongs to no TaskManager yet
"""

from __future__ import annotations

from collections.abc import Sequence

from consumers.errors import InvalidInput, TaskManagerError
from processors.retries.newer import shown
from taskmanager.errors import InvalidPayload


class InvalidArguments(InvalidInput, TypeError):
    """Raised when a task is emitted with arguments that its function does not take.

    Nothing was sent.
    """

    def __init__(self, task: str, fault: str, form: str) -> None:
        super().__init__(f"{task}.emit: {fault}. It takes {form}; nothing was sent")
        self.task = task


class UnknownParameters(InvalidPayload):
    """Raised when an event is emitted by name with data that its task does not take.

    names are those of the data that are no parameters.
    """

    def __init__(
        self, queue: str, event: str, names: Sequence[str], parameters: Sequence[str]
    ) -> None:
        takes = f"its parameters: {', '.join(parameters)}" if parameters else "it takes none"
        InvalidInput.__init__(
            self,
            f"the data of {event!r} names {shown(names)}, which its task in queue {queue!r} "
            f"does not take; {takes}; nothing was sent",
        )
        self.errors = [
            {"type": "extra_forbidden", "loc": (name,), "msg": "it is no parameter", "input": None}
            for name in names
        ]
        self.names = list(names)
        self.queue = queue
        self.event = event


class NotIncluded(TaskManagerError):
    """Raised when a task is emitted that belongs to no TaskManager."""

    def __init__(self, task: str) -> None:
        super().__init__(
            f"task {task!r} belongs to no TaskManager yet: call tm.include(tasks), or say where "
            'it is: Tasks(app="shop.app:tm")'
        )
        self.task = task
