"""A private Redis for development."""

from taskmanager.embedded.server import EmbeddedServer, resolve

__all__ = ["EmbeddedServer", "resolve"]
