"""What one event loop emits in a tick leaves as one batch per queue."""
