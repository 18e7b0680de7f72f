"""What is measured: a figure's value by its name, which ends in its unit."""

from __future__ import annotations

from benchmarks.spread import percentile

# jobs_per_s, worker_us_per_job, p99_us ...
Figures = dict[str, float]


def named(prefix: str, figures: Figures) -> Figures:
    """Return the figures with a prefix, to tell those of one variant from another's."""
    return {f"{prefix}_{name}": value for name, value in figures.items()}


def percentiles(microseconds: list[int]) -> Figures:
    """Return p50, p99, p99.9 and the largest of some waits."""
    ordered = sorted(microseconds)
    shares = {"p50_us": 0.5, "p99_us": 0.99, "p99.9_us": 0.999, "max_us": 1.0}
    return {name: float(percentile(ordered, share)) for name, share in shares.items()}
