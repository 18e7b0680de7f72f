"""See through the groups that asyncio.TaskGroup puts the errors of its tasks into."""

from __future__ import annotations

from processors.retries.signals import Signal


def members(error: BaseException) -> list[BaseException]:
    """Return the errors in a group, those in groups within it too; an error that is none, alone."""
    found: list[BaseException] = []
    waiting = [error]
    while waiting:
        it = waiting.pop()
        if isinstance(it, BaseExceptionGroup):
            waiting.extend(reversed(it.exceptions))
        else:
            found.append(it)
    return found


def lone(error: BaseException) -> BaseException:
    """Return the only error of a group; any other error as it is."""
    found = members(error)
    return found[0] if len(found) == 1 else error


def signal_of(error: BaseException) -> Signal | None:
    """Return the signal that an error is, or the first of a group of nothing but signals.

    A fault beside a signal was not raised on purpose: the group is a failure.
    """
    found = members(error)
    first = found[0]
    return (
        first if isinstance(first, Signal) and all(isinstance(it, Signal) for it in found) else None
    )
