"""What runs: registered handlers, their payloads, middleware, context and alerts."""
