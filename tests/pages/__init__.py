"""The README and the pages of docs/: what they say runs, reads well, and can be found."""
