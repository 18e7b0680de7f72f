"""The lower layer: fetch jobs from Redis Streams, run them, record their outcomes."""

from consumers.connections.connector import Connector
from consumers.consumer import Consumer
from consumers.emit.batches import Emitted
from consumers.emit.producer import Producer
from consumers.errors import TaskManagerError
from consumers.jobs.envelope import NewJob
from consumers.jobs.job import Job
from consumers.jobs.lanes import Lane
from consumers.jobs.outcome import (
    Buried,
    Cancelled,
    Completed,
    Outcome,
    Raised,
    Released,
    RetryAt,
    Returned,
)
from consumers.open.groups import ensure_consumer_group
from consumers.policy import CallNext, Handler, Policy
from consumers.run.alone import process_job

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
    "ensure_consumer_group",
    "process_job",
]
