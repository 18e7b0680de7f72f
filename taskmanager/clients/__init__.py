"""The connections of each event loop to Redis, and how threads wait for a loop."""
