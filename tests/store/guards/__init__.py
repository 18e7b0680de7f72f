"""Guards on real Redis: idempotency keys, and storms of emits that become one job."""
