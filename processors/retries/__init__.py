"""Whether and when a failed run is repeated."""
