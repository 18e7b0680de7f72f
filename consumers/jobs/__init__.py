"""What a job is: names, lanes, envelope, outcome, and what may be given. No I/O."""
