"""The lower floor: fetch jobs from Redis Streams, run them, record their outcomes."""

from consumers.batches import Emitted
from consumers.connection import Connector
from consumers.consumer import Consumer
from consumers.errors import TaskManagerError
from consumers.job import Job, NewJob
from consumers.lanes import Lane
from consumers.outcome import (
    Buried,
    Cancelled,
    Completed,
    Outcome,
    Raised,
    Released,
    RetryAt,
    Returned,
)
from consumers.policy import CallNext, Handler, Policy
from consumers.producer import Producer

__all__ = [
    "Buried",
    "CallNext",
    "Cancelled",
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
    "RetryAt",
    "Returned",
    "TaskManagerError",
]
