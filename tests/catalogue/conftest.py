"""The stages of the tests with processes, for the rows that need them."""

from tests.processes.conftest import durable_stage, stage

__all__ = ["durable_stage", "stage"]
