"""job.fence: of two deliveries of jobs of one queue the later one has the larger."""

from __future__ import annotations

from itertools import pairwise

from consumers.jobs.envelope import Envelope
from consumers.jobs.job import FakeJob, Job
from consumers.jobs.lanes import Lane


def fence(epoch: int, generation: int, earlier: int, delivered: int = 1) -> int:
    envelope = Envelope("a", "e", b"null", b"", 1, generation, 0, 0, earlier, 0)
    job: Job[None] = Job(
        envelope, Lane("q"), type="workers", delivered=delivered, epoch=epoch,
        notes=FakeJob(None)._notes,
    )  # fmt: skip
    return job.fence


MOST_EARLIER, MOST_GENERATION = 10**9 - 1, 10**15 - 1


def test_a_fence_grows_with_each_delivery_however_often_a_job_snoozes() -> None:
    deliveries = [0, 1, 65_533, 65_534, 65_535, 65_536, 10**6, MOST_EARLIER]

    fences = [fence(1, 1, earlier) for earlier in deliveries]

    assert all(earlier < later for earlier, later in pairwise(fences))


def test_a_fence_grows_with_the_generation_up_to_the_last_one_there_can_be() -> None:
    generations = [1, 2, 2**40 - 1, 2**40, 2**40 + 1, 10**14, MOST_GENERATION]

    fences = [fence(3, generation, 0) for generation in generations]

    assert all(earlier < later for earlier, later in pairwise(fences))
    assert fence(3, 1, MOST_EARLIER, 10**9) < fence(3, 2, 0)


def test_a_later_epoch_has_the_larger_fence_whatever_ran_before_it() -> None:
    assert fence(3, MOST_GENERATION, MOST_EARLIER, 10**9) < fence(4, 1, 0)
