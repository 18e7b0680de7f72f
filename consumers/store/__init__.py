"""What Redis keeps of a queue, and each step that changes it."""
