"""The examples run as their pages and README show them, as processes on a real Redis."""
