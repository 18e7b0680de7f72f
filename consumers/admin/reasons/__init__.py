"""The reasons of explain: each a code, a sentence and a test of whether it applies."""
