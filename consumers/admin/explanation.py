"""Why jobs do not run, as values."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a job is not running, or what it is doing. Its `str` is the sentence.

    - `reason`: one word, such as "paused", "no_worker" or "slots_taken".
    - `sentence`: the reason in a sentence about the job, with names and numbers.
    - `details`: what else applies to the job, in the same form, the most important first.
    """

    reason: str
    sentence: str
    details: list[Explanation] = field(default_factory=list)

    def __str__(self) -> str:
        return self.sentence


@dataclass(frozen=True, slots=True)
class ReasonCount:
    """How many jobs of a queue wait for one reason.

    - `reason`: one word, as in Explanation.
    - `jobs`: how many of the jobs that were looked at.
    - `example`: the id of one of them.
    - `sentence`: the reason of this job in a sentence.
    """

    reason: str
    jobs: int
    example: str
    sentence: str


@dataclass(frozen=True, slots=True)
class QueueExplanation:
    """Why the jobs of a queue wait.

    - `jobs`: how many jobs wait in the lanes that were looked at, or are put off.
    - `looked_at`: how many of them were looked at, at most 500.
    - `reasons`: the reasons of these, the most frequent first.
    - `more_lanes`: how many lanes were not looked at. The 256 lanes of the highest priority are,
      lanes of single events last.
    """

    jobs: int
    looked_at: int
    reasons: list[ReasonCount]
    more_lanes: int = 0
