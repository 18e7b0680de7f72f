"""What runs: registered functions, their payloads, middleware, context and alerts."""
