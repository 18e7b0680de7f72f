"""Scripts, keys and the door on real Redis, one call at a time."""
