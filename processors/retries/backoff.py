"""How long to wait before a failed job is run again. Pure functions; their result is stored."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from consumers.chance import chance

Kind = Literal["exponential", "linear", "fixed"]

MAX_DELAY_MS = 365 * 24 * 3600 * 1000


def delay_ms(
    retry: int,
    *,
    base_ms: int,
    kind: Kind = "exponential",
    multiplier: float = 2.0,
    max_ms: int = 32_000,
    jitter: bool = False,
    uniform: Callable[[float, float], float] = chance.uniform,
) -> int:
    """Return the delay in ms before a retry; retry 1 is the first.

    exponential: base x multiplier^(retry - 1); linear: base x retry; fixed:
    base. Never more than max_ms. With jitter the delay is multiplied with a
    random factor from 0.5 to 1 ("equal jitter" in Marc Brooker, Exponential
    Backoff and Jitter, AWS 2015): what failed together does not come back together.
    """
    delay = min(_growth(retry, kind, multiplier) * base_ms, max_ms)
    return round(delay * uniform(0.5, 1.0)) if jitter else round(delay)


def _growth(retry: int, kind: Kind, multiplier: float) -> float:
    if kind == "fixed":
        return 1.0
    if kind == "linear":
        return float(retry)
    try:
        return float(multiplier ** (retry - 1))
    except OverflowError:
        return float(MAX_DELAY_MS)
