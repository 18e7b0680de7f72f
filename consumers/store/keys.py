"""Every key name in Redis. Nothing else builds one.

All keys of a queue carry the hash tag ``{queue}``, so that a script may touch
them together on a cluster. The comments say what bounds each key.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from functools import lru_cache

from consumers.jobs.lanes import Lane

# Small hashes are stored as listpacks (up to 128 fields by default): 16,384
# buckets keep them small up to about two million live jobs a queue.
LIVE_BUCKETS = 16_384


def bucket(job_id: str) -> int:
    """Return which of the LIVE_BUCKETS hashes holds a job id."""
    return zlib.crc32(job_id.encode()) % LIVE_BUCKETS


_BUCKETS = [str(number) for number in range(LIVE_BUCKETS)]


def bucket_name(job_id: str) -> str:
    """Return the bucket that holds a job id as text, as it is sent for each of many jobs."""
    return _BUCKETS[bucket(job_id)]


@lru_cache(maxsize=1024)
def never_beside(key: str) -> str | None:
    """Return the key that never exists beside a key of a queue; None for a key of no queue.

    Every script declares it. While a cluster moves the queue's slot key by key, Redis refuses a
    script of which one declared key is not there, before its first line; a key that a script
    only names while it runs would stop it in the middle.
    """
    base, ends, _ = key.partition("}:")
    return f"{base}{ends}never" if ends else None


@dataclass(frozen=True, slots=True)
class Fleet:
    """The keys that belong to no single queue."""

    namespace: str = "tm"

    @property
    def queues(self) -> str:
        """Set of the queues that exist. Bound: the number of queues."""
        return f"{self.namespace}:queues"

    @property
    def workers(self) -> str:
        """Sorted set of worker ids by their last heartbeat (ms). Bound: pruned after a minute."""
        return f"{self.namespace}:workers"

    def worker(self, worker_id: str) -> str:
        """Hash of one worker's facts. Bound: expires a minute after its last heartbeat."""
        return f"{self.namespace}:worker:{worker_id}"


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of one queue."""

    queue: str
    namespace: str = "tm"
    base: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "base", f"{self.namespace}:{{{self.queue}}}:")

    def lane(self, lane: Lane) -> str:
        """Stream of a lane. Bound: the queue's depth limit, or Redis' memory."""
        return f"{self.base}lane:{lane.name}"

    def stream(self, name: str) -> str:
        """Stream of a lane, or its front, by the name that hints and marks have for it."""
        return f"{self.base}lane:{name}"

    def front(self, lane: Lane) -> str:
        """Stream of what was handed back to a lane; read before it. Bound: as the lane."""
        return f"{self.base}lane:{lane.name}:front"

    @property
    def lanes(self) -> str:
        """Sorted set of lane names by priority, those of single events behind all others.

        Bound: MAX_LANES + MAX_EVENT_LANES + MAX_ROUTE_LANES.
        """
        return f"{self.base}lanes"

    @property
    def routes(self) -> str:
        """Hash of the definitions of routes (JSON) by their names.

        Bound: MAX_ROUTES; one goes with the last lane of its route.
        """
        return f"{self.base}routes"

    @property
    def workers(self) -> str:
        """Hash of the workers that read the queue: "<last heartbeat (ms)> <profile (JSON)>" by id.

        Bound: the number of workers; one that was silent for a minute is taken out, and the hash
        expires a minute after the last heartbeat.
        """
        return f"{self.base}workers"

    @property
    def meta(self) -> str:
        """Hash of the queue's properties, and of whose turn it is. Bound: a fixed set of fields."""
        return f"{self.base}meta"

    def live(self, job_id: str) -> str:
        """Hash of where each live job of a bucket is. Bound: the number of live jobs."""
        return f"{self.base}live:{bucket(job_id)}"

    @property
    def delayed(self) -> str:
        """Sorted set of delayed jobs by due time (ms). Bound: the queue's depth limit.

        Beside it ``:envelopes``, a hash of their envelopes, and ``:lanes``, a hash
        of how many of them each lane is reserved for.
        """
        return f"{self.base}delayed"

    @property
    def outbox(self) -> str:
        """Stream of children for other queues. Bound: relayed at once and deleted then."""
        return f"{self.base}outbox"

    @property
    def relay_lock(self) -> str:
        """String: which relay is at work. Bound: expires after some seconds."""
        return f"{self.base}outbox:lock"

    @property
    def relayed(self) -> str:
        """Hash: epoch and last entry taken of each queue's outbox. Bound: the number of queues."""
        return f"{self.base}relayed"

    @property
    def waiters(self) -> str:
        """Hash of job ids, each with the channels of the processes that wait for its end.

        Bound: the live jobs, 100 processes each; expires a day after the last wait began.
        """
        return f"{self.base}waiters"

    @property
    def dead(self) -> str:
        """Stream of dead letters. Bound: by number, bytes and age; trims are counted."""
        return f"{self.base}dead"

    def dead_named(self, name: bytes | None) -> str:
        """Stream of dead letters by the name that the queue's meta has for it. Bound: as dead."""
        return self.dead if name is None else f"{self.base}dead:{name.decode(errors='replace')}"

    @property
    def dead_index(self) -> str:
        """Hash of a job id's latest dead letter. Bound: as the dead letters."""
        return f"{self.base}dead_index"

    @property
    def cancelled(self) -> str:
        """Set of waiting entries that are cancelled: "<stream> <entry>".

        Bound: the waiting jobs; taken out when delivery passes them over.
        """
        return f"{self.base}cancelled"

    @property
    def cancelling(self) -> str:
        """Set of running entries that are cancelled. Bound: the running jobs; out when settled."""
        return f"{self.base}cancelling"

    def idempotency(self, digest: str) -> str:
        """String: the job of an idempotency key.

        Bound: the live jobs; expires a day after its job has ended. That of a job that went with
        a deleted stream stands for nothing, and stays until the key is used again.
        """
        return f"{self.base}idem:{digest}"

    def debounce(self, digest: str) -> str:
        """String: the job of a storm of emits. Bound: expires a day after its longest wait."""
        return f"{self.base}debounce:{digest}"

    @property
    def schedules(self) -> str:
        """Sorted set of schedules by when to look at them (ms). Bound: MAX_SCHEDULES."""
        return f"{self.base}cron"

    @property
    def schedule_names(self) -> str:
        """Set of all schedules, paused ones too. Bound: MAX_SCHEDULES."""
        return f"{self.base}cron_names"

    def schedule(self, name: str) -> str:
        """Hash of a schedule: definition, next and last fire. Bound: a fixed set of fields."""
        return f"{self.base}cron:{name}"

    def ran(self, job_id: str) -> str:
        """String: the last completed run of an id, where the processor debounces.

        Bound: expires after the processor's window.
        """
        return f"{self.base}ran:{job_id}"

    @property
    def stats(self) -> str:
        """Hash of counters. Bound: a fixed set of fields."""
        return f"{self.base}stats"

    def result(self, job_id: str) -> str:
        """String: the last run's result. Bound: expires after the result TTL."""
        return f"{self.base}result:{job_id}"

    def log(self, job_id: str) -> str:
        """List of a job's log lines. Bound: 1,000 lines of 4 KiB, expires after the log TTL."""
        return f"{self.base}log:{job_id}"

    def progress(self, job_id: str) -> str:
        """Hash of a job's progress. Bound: expires after the log TTL."""
        return f"{self.base}progress:{job_id}"

    def fence(self, what: str, job_id: str) -> str:
        """String: which run and delivery last wrote a job's result, log or progress.

        Only where these are kept in a Redis of their own. Bound: expires with them.
        """
        return f"{self.base}fence:{what}:{job_id}"

    def writer(self, writer_id: str) -> str:
        """String: the last batch of a writer, and its answer. Bound: expires after 10 minutes."""
        return f"{self.base}prod:{writer_id}"

    @property
    def pattern(self) -> str:
        """What fits every key of the queue, as people and ACLs write it."""
        return f"{self.base}*"

    @property
    def rights(self) -> str:
        """A key on which the rights of this user are tried. Holds nothing."""
        return f"{self.base}rights"

    def results(self, waiter: str) -> str:
        """Pub/sub channel on which a process hears of the ends it waits for. Holds nothing."""
        return f"{self.base}results:{waiter}"

    @property
    def control(self) -> str:
        """Pub/sub channel of hints. Holds nothing."""
        return f"{self.base}control"
