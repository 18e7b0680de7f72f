"""Send jobs through the producer of the current event loop."""
