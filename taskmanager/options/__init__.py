"""What users may pass as options, and how it is read. No I/O."""
