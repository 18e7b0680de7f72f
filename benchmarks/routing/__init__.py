"""How long jobs wait that not every worker may run, beside an ideal queue and other ways."""
