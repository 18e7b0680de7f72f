"""Which keys the engine may leave in Redis, and which of them without an expiry."""

from __future__ import annotations

import re

# Keys that may stay for ever; keys.py says what bounds each of them. Every
# other key must have an expiry from the step that makes it.
_QUEUE_KEYS = (
    "lane:.+|lanes|meta|live:[0-9]+|delayed(:envelopes|:lanes)?|dead(:.+)?|dead_index|stats|outbox|"
    "routes|relayed|cron(:.+)?|cron_names|cancelled|cancelling|idem:.+"
)
_EXPIRING_QUEUE_KEYS = (
    "prod:.+|result:.+|log:.+|progress:.+|fence:.+|waiters|outbox:lock|idem:.+|debounce:.+|ran:.+|"
    "workers"
)
_PERMANENT = re.compile(rf"[\w.-]+:(\{{[^}}]+\}}:({_QUEUE_KEYS})|queues|workers)")
_EXPIRING = re.compile(rf"[\w.-]+:(\{{[^}}]+\}}:({_EXPIRING_QUEUE_KEYS})|worker:.+)")


def may_stay(name: str) -> bool:
    """Whether a key may be without an expiry."""
    return _PERMANENT.fullmatch(name) is not None


def is_ours(name: str) -> bool:
    """Whether the engine makes keys of such a name."""
    return may_stay(name) or _EXPIRING.fullmatch(name) is not None
