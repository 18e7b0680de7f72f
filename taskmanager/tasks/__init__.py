"""Plain functions as tasks: emitted by a typed call, run with the same arguments."""
