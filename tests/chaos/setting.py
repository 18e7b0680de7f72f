"""What a process of a run is told by its environment. Nothing else reads or writes that."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

_VARIABLE = "CHAOS"


@dataclass(frozen=True, slots=True)
class Setting:
    """lease is in seconds, rate in jobs a second of one producer, kinds a share of each kind.

    name is that of the process, start how often it was started before.
    """

    folder: str
    name: str = ""
    start: int = 0
    seed: int = 1
    lease: float = 2.0
    rate: float = 30.0
    kinds: Mapping[str, float] = field(default_factory=dict)
    mutant: str = ""

    @property
    def records(self) -> Path:
        """The folder of the oracle's files."""
        return Path(self.folder) / "records"

    def environment(self) -> dict[str, str]:
        """Return what a child process needs in its environment."""
        return {_VARIABLE: json.dumps(asdict(self))}

    @classmethod
    def of_process(cls) -> Setting:
        """Return the setting of this process."""
        return cls(**json.loads(os.environ[_VARIABLE]))
