"""Tests of the app: ``python manage.py test``. They start a private Redis."""

from __future__ import annotations

import asyncio

from django.test import TransactionTestCase, override_settings
from taskmanager.contrib.django.workers import worker_manager

from orders.models import Order

TASKS = {
    "default": {
        "BACKEND": "taskmanager.contrib.django.TaskManagerBackend",
        "QUEUES": ["default", "mail"],
        "OPTIONS": {"redis": "embedded://"},
    }
}


@override_settings(TASKS=TASKS)
class ConfirmationTest(TransactionTestCase):
    def test_an_order_is_confirmed(self) -> None:
        self.client.post("/orders/", {"email": "ada@example.com", "item": "tea"})

        asyncio.run(worker_manager().run(burst=True))

        order = Order.objects.get()
        assert order.confirmed_at is not None
        response = self.client.get(f"/orders/{order.pk}/")
        assert response.json() == {"confirmed": True, "task": "SUCCESSFUL"}
