"""What users hold of a job: a handle, and values that describe the job."""
