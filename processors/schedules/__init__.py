"""Which job is emitted when, once in the whole fleet."""
