"""When what a worker runs began, as it tells the fleet."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from itertools import islice

from consumers.store.delivery import Delivery
from consumers.store.entries import added_ms
from consumers.store.fleet import MOST_STARTS


def starts_of(running: Iterable[Delivery]) -> dict[str, dict[str, int]]:
    """Return when jobs began, in ms since 1970, by queue and id, of the first 200 that did.

    None began before its entry was added: that tells it from an earlier attempt of its job.
    """
    found: defaultdict[str, dict[str, int]] = defaultdict(dict)
    for delivery in islice((it for it in running if it.begun), MOST_STARTS):
        queue, job_id = delivery.stream.lane.queue, delivery.envelope.id
        found[queue][job_id] = max(delivery.started_ms, added_ms(delivery.entry))
    return found
