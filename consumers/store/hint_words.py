"""The words that hints begin with, on the control channel of a queue. Scripts say them."""

from __future__ import annotations

from typing import Final

# A job is due earlier than any before: "due <ms>".
DUE: Final = "due"
# A child for another queue was committed.
OUTBOX: Final = "outbox"
# Somebody's delivery is cancelled: "cancel <stream> <entry>".
CANCEL: Final = "cancel"
# A lane came or went: "lane <name>".
LANE: Final = "lane"
# The queue or one of its events was paused or resumed.
PAUSE: Final = "pause"
# A schedule was changed.
CRON: Final = "cron"

ALL = frozenset({DUE, OUTBOX, CANCEL, LANE, PAUSE, CRON})
