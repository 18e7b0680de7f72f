"""What joins the task manager to frameworks, a folder each; nothing else here imports it."""
