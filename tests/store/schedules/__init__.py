"""The scripts of schedules on real Redis: each fire time once, whoever fires it (G9)."""
