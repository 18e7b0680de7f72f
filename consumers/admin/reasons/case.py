"""The job that is explained and the workers of its queue: what of both reasons are tested by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from consumers.admin.circumstances import Circumstances
from consumers.jobs.envelope import ENVELOPE_VERSION, Envelope
from consumers.jobs.job import expires_at_ms, read_options
from consumers.jobs.lanes import Lane
from consumers.jobs.names import worker_of
from consumers.jobs.routes import Demand, Missing, Route, may_run, missing
from consumers.store.delivery import SOLO_AFTER_CRASHES
from consumers.store.entries import SOON_MS, added_ms
from consumers.store.queue_workers import SeenWorker

# Workers report every 5 s. Of one that missed a report nobody knows whether it still runs jobs.
SILENT_MS = 10_000
# A promoter looks every 2 s at least.
_OVERDUE_MS = 2_000
# What its worker reports of a job's start may be as much older than the report says (ms).
_REPORT_MS = 1_000


@dataclass(frozen=True)
class Case:
    """A job's circumstances, and the workers of its queue that were heard of within a minute."""

    it: Circumstances
    workers: Sequence[SeenWorker]

    # The job

    @cached_property
    def lives(self) -> bool:
        """Whether it is waiting, running or put off."""
        return self.it.job.generation is not None

    @cached_property
    def is_put_off(self) -> bool:
        """Whether it is delayed, debounced or to be retried."""
        return self.lives and self.it.job.due_ms is not None

    @cached_property
    def in_stream(self) -> bool:
        """Whether it is in the stream of a lane or its front."""
        return self.lives and ":" in self.it.job.place

    @cached_property
    def is_held(self) -> bool:
        """Whether a worker has it."""
        return self.in_stream and bool(self.it.job.consumer)

    @cached_property
    def waits(self) -> bool:
        """Whether it is in a stream and no worker has it."""
        return self.in_stream and not self.is_held

    @cached_property
    def needs_a_worker(self) -> bool:
        """Whether it runs only once a worker takes it that has not got it now."""
        return ((self.waits or self.is_put_off) and self.it.has_entry) or self.has_expired

    @cached_property
    def envelope(self) -> Envelope | None:
        """What its entry holds, if that can be read."""
        return self.it.job.envelope

    @cached_property
    def event(self) -> str | None:
        """Its event, if that is known."""
        if self.envelope is not None:
            return self.envelope.event
        return self.lane.event or (self.it.route.event if self.it.route else None)

    @cached_property
    def version(self) -> int:
        """The envelope version that its worker must read."""
        return max(self.lane.version, self.envelope.version if self.envelope else 1)

    @cached_property
    def lane(self) -> Lane:
        """The lane that it is in, or comes to."""
        return self.it.lane or Lane(self.it.queue)

    @cached_property
    def demand(self) -> Demand:
        """What it requires of its worker."""
        return Demand(self.event, self.lane, self.it.route, self.version)

    # Its worker

    @cached_property
    def holder(self) -> str:
        """The name of the worker that has it."""
        return worker_of(self.it.job.consumer)

    @cached_property
    def holding(self) -> SeenWorker | None:
        """What the worker that has it says of itself, if it was heard of within a minute."""
        return next((it for it in self.workers if it.id == self.it.job.consumer), None)

    @cached_property
    def idle_ms(self) -> int:
        """How long ago it was handed to its worker, or its lease was renewed."""
        return max(0, self.it.now_ms - self.it.job.held_since_ms)

    @cached_property
    def was_just_added(self) -> bool:
        """Whether its entry was new when it was handed out, or renewed: that was the hand-out."""
        return self.it.job.held_since_ms <= added_ms(self.it.job.entry) + SOON_MS

    @cached_property
    def has_expired(self) -> bool:
        """Whether its worker has not renewed the lease in time."""
        return self.is_held and 0 < self.it.lease_ms < self.idle_ms

    @cached_property
    def has_not_started(self) -> bool:
        """Whether its worker has it, and named what it runs since then without this job."""
        start, since = self.it.start, self.it.job.held_since_ms
        told = self.holding.seen_ms if self.holding is not None else 0
        return self.is_held and start.names_all and not start.at_ms and since < told - _REPORT_MS

    @cached_property
    def crashes(self) -> int:
        """How many workers died while they had it."""
        earlier = self.envelope.crashes if self.envelope else 0
        return earlier + max(0, self.it.job.delivered - 1)

    @cached_property
    def is_suspect(self) -> bool:
        """Whether it runs alone in its worker."""
        return self.crashes >= SOLO_AFTER_CRASHES

    # Its time to start

    @cached_property
    def expires_ms(self) -> int | None:
        """When it ends without a run if it has not begun, None for never; by its options."""
        envelope = self.envelope
        if envelope is None or envelope.version > ENVELOPE_VERSION or not envelope.options:
            return None
        try:
            options = read_options(envelope.options)
            at = expires_at_ms(envelope, options, self.it.job.delivered)
        except (ValueError, TypeError, OverflowError):
            # Somebody else wrote them.
            return None
        return at if type(at) is int else None

    @cached_property
    def is_too_late(self) -> bool:
        """Whether it waits or is put off, and ends as soon as a worker reaches it."""
        waits = (self.waits or self.is_put_off) and self.it.has_entry and not self.it.is_cancelled
        return waits and self.expires_ms is not None and self.expires_ms <= self.it.now_ms

    # What is put off

    @cached_property
    def due_in_ms(self) -> int:
        """In how long it is due, 0 if it is."""
        return max(0, (self.it.job.due_ms or 0) - self.it.now_ms)

    @cached_property
    def is_overdue(self) -> bool:
        """Whether it should have come to its lane by now."""
        return self.is_put_off and self.it.now_ms - (self.it.job.due_ms or 0) > _OVERDUE_MS

    # The workers

    @cached_property
    def live(self) -> list[SeenWorker]:
        """The workers that start jobs, as far as is known."""
        return [it for it in self.workers if not self.is_silent(it) and not it.state.stopping]

    @cached_property
    def of_type(self) -> list[SeenWorker]:
        """The live workers of its type."""
        return [it for it in self.live if it.state.profile.type == self.lane.group]

    @cached_property
    def handling(self) -> list[SeenWorker]:
        """The live workers of its type that handle its event in its version."""
        return [it for it in self.of_type if self.handles(it)]

    @cached_property
    def matching(self) -> list[SeenWorker]:
        """The workers among them that its route allows."""
        return [it for it in self.handling if not self.lacks(it)]

    @cached_property
    def able(self) -> list[SeenWorker]:
        """The live workers that may run it."""
        return [it for it in self.matching if it.state.profile.takes(self.lane.priority)]

    @cached_property
    def absent(self) -> list[SeenWorker]:
        """The workers that might run it, but stop or are silent."""
        return [
            it
            for it in self.workers
            if (self.is_silent(it) or it.state.stopping)
            and it.state.profile.type == self.lane.group
            and self.handles(it)
            and not self.lacks(it)
            and it.state.profile.takes(self.lane.priority)
        ]

    @cached_property
    def slots(self) -> int:
        """How many jobs the live workers that may run it can run at a time."""
        return sum(it.state.slots for it in self.able)

    @cached_property
    def free(self) -> int:
        """How many of these slots are free."""
        return sum(max(0, it.state.slots - it.state.running) for it in self.able)

    def is_silent(self, worker: SeenWorker) -> bool:
        """Whether a worker has missed a report."""
        return self.silence_ms(worker) > SILENT_MS

    def silence_ms(self, worker: SeenWorker) -> int:
        """How long ago a worker was heard of."""
        return max(0, self.it.now_ms - worker.seen_ms)

    def handles(self, worker: SeenWorker) -> bool:
        """Whether a worker handles the event in its version, stopping or not."""
        state = worker.state
        return self.version <= state.envelope and (self.event is None or self.event in state.events)

    def lacks(self, worker: SeenWorker) -> list[Missing]:
        """Return why the route does not allow a worker."""
        return missing(self.it.route, worker.state.profile) if self.it.route else []

    # What comes before it

    @cached_property
    def higher(self) -> int:
        """How many jobs of higher priority wait for a worker that may run it."""
        return sum(it.waiting for it in self.it.higher if self._is_read(it.lane, it.route))

    @cached_property
    def ahead(self) -> int:
        """How many jobs are before it, at least."""
        return self.it.before + self.higher

    @cached_property
    def is_more_ahead(self) -> bool:
        """Whether there are more than that."""
        return self.it.is_more_before or self.it.is_more_higher

    def _is_read(self, lane: Lane, route: Route | None) -> bool:
        """Whether a worker that may run the job reads a lane."""
        routes = {route.name: route} if route else {}
        event = lane.event or (route.event if route else None)
        return not self.it.paused.covers(event) and any(
            may_run(lane, it.state.profile, routes)
            and (event is None or it.state.handles(event, lane.version))
            for it in self.able
        )
