"""What an order is."""

from __future__ import annotations

from django.db import models


class Order(models.Model):
    """task_id is the id of the task that confirms it, empty until that task is enqueued."""

    email = models.EmailField()
    item = models.CharField(max_length=100)
    confirmed_at = models.DateTimeField(null=True)
    task_id = models.CharField(max_length=64, default="")
