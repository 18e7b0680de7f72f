"""What joins the task manager to frameworks."""
