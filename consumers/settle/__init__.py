"""Record outcomes, in batches, fenced."""
