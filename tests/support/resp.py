"""RESP as far as a proxy must understand it: where values end, and what a request asks."""

from __future__ import annotations

from collections.abc import Iterator

_PUSHED = (b"message", b"pmessage", b"smessage")
_AGGREGATES = b"*~>%|"
_BULKS = b"$=!"


def name_of(request: list[bytes]) -> str:
    return request[0].decode(errors="replace").upper() if request else ""


def did_something(reply: bytes) -> bool:
    return not reply.startswith((b"-", b"!", b"$-1", b"*-1", b"_"))


def is_pushed(frame: bytes) -> bool:
    parts = frame.split(b"\r\n", 3)
    return len(parts) > 2 and parts[2].lower() in _PUSHED


def arguments(frame: bytes) -> list[bytes]:
    """Return the words of a request, a RESP array of bulk strings or one inline line."""
    if not frame.startswith(b"*"):
        return frame.split()
    words = []
    at = frame.index(b"\r\n") + 2
    while at < len(frame):
        start = frame.index(b"\r\n", at) + 2
        length = int(frame[at + 1 : start - 2])
        words.append(frame[start : start + length])
        at = start + length + 2
    return words


def frames(buffer: bytearray) -> Iterator[bytes]:
    """Take every complete RESP value out of the front of buffer."""
    at = 0
    while (end := _frame_end(buffer, at)) is not None:
        yield bytes(buffer[at:end])
        at = end
    del buffer[:at]


def _frame_end(buffer: bytearray, start: int) -> int | None:
    """Return where the value at start ends, None when it is not complete yet."""
    at, values = start, 1
    while values:
        line_end = buffer.find(b"\r\n", at)
        if line_end < 0:
            return None
        kind, head = buffer[at], buffer[at + 1 : line_end]
        at = line_end + 2
        values -= 1
        if kind in _AGGREGATES:
            values += max(int(head), 0) * (2 if kind in b"%|" else 1)
            # An attribute stands before the value it belongs to.
            values += kind in b"|"
        elif kind in _BULKS and int(head) >= 0:
            at += int(head) + 2
    return at if at <= len(buffer) else None
