"""Bring jobs for free slots, highest priority first."""
