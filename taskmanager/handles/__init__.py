"""What a user holds of a job: a handle, and what is known of the job, as values."""
