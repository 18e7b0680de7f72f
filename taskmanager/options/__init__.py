"""What users may write, and how it is read. No I/O."""
