"""Call a handler, and find out what becomes of its run."""
