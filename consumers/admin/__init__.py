"""What producers and people ask of a queue and change in it. No worker imports it."""
