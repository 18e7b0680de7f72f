"""How long to wait before Redis is asked again."""

from __future__ import annotations

from tenacity import RetryCallState, wait_exponential

from consumers.chance import chance

_LONGEST = wait_exponential(multiplier=0.02, max=1.0)


def pause_before(attempt: int) -> float:
    """Return the seconds to wait before the given repetition (1 is the first)."""
    state = RetryCallState(retry_object=None, fn=None, args=(), kwargs={})  # type: ignore[arg-type]
    state.attempt_number = attempt
    # Full jitter: after a restart of Redis a fleet must not return in step. Never zero: a
    # refused connection answers at once, and a loop would spin.
    return max(0.005, chance.uniform(0.0, float(_LONGEST(state))))
