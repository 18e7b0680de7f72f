"""When entries of streams were added, and when the oldest that waits was."""

from __future__ import annotations

from consumers.connections.wire import Wire

# What was held or renewed last so soon after it was added (ms) was handed out by then.
SOON_MS = 1000


def added_ms(entry: str) -> int:
    """Return when an entry was added (ms)."""
    return int(entry.partition("-")[0])


def order_of(entry: str) -> tuple[int, int]:
    """Return what entries are to be sorted by: as texts they have another order."""
    ms, _, number = entry.partition("-")
    return int(ms), int(number)


async def oldest_waiting_ms(wire: Wire, key: str, delivered: str) -> int | None:
    """Return when the first entry behind the one that was delivered last was added (ms).

    Entries come with their payload: ask for one stream after another.
    """
    rows = await wire.send("XRANGE", key, f"({delivered}", "+", "COUNT", 1)
    return added_ms(rows[0][0].decode()) if rows else None
