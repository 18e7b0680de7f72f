"""Django's tasks as jobs. Here as in Django's own suite, which ``make django`` runs."""
