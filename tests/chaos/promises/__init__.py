"""What the engine promises, by subject: each promise is a function of a run's history."""
