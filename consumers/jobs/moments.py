"""Times as people read them."""

from __future__ import annotations

from datetime import UTC, datetime

# The end of the year 9999.
_LATEST_MS = 253_402_300_799_999


def moment(ms: float) -> datetime:
    """Return milliseconds since 1970 as a datetime in UTC, limited to what a datetime can hold."""
    return datetime.fromtimestamp(min(max(ms, 0), _LATEST_MS) / 1000, UTC)
