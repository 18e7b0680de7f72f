"""Read and change jobs, queues, dead letters and schedules."""
