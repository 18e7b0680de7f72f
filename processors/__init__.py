"""When and whether a job runs: the policies between the engine and the facade."""

from __future__ import annotations

from processors.processor import Processor

__all__ = ["Processor"]
