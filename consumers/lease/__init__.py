"""What this process holds, and the thread that renews it."""
