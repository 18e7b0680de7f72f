"""A storm over jobs that require something of a worker: none begins where it may not."""
