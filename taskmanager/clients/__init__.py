"""What each event loop has of Redis, and how threads wait for one."""
