"""The lower floor: fetch jobs from Redis Streams, run them, record their outcomes."""

from consumers.connection import Connector
from consumers.consumer import Consumer
from consumers.errors import TaskManagerError
from consumers.job import Job, NewJob
from consumers.lanes import Lane
from consumers.outcome import Buried, Completed, Outcome, Raised, Released, Returned
from consumers.policy import Handler, Policy
from consumers.producer import Emitted, Producer

__all__ = [
    "Buried",
    "Completed",
    "Connector",
    "Consumer",
    "Emitted",
    "Handler",
    "Job",
    "Lane",
    "NewJob",
    "Outcome",
    "Policy",
    "Producer",
    "Raised",
    "Released",
    "Returned",
    "TaskManagerError",
]
