"""Integrations with frameworks, one folder each. Nothing else here imports them."""
