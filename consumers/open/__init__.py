"""Make a queue ready: rights, layout, lease, eviction policy."""
