"""The app: orders, and the mails that confirm them."""
