"""Hand jobs to the producer of the event loop at hand."""
