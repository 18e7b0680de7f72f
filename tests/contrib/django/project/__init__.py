"""A Django project with one app, for worker processes and for tests in this process."""
