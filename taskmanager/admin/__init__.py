"""What is asked of and done to jobs, queues, dead letters and schedules."""
