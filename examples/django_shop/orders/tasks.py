"""Tasks of the app. A worker imports this module because the app is installed."""

from __future__ import annotations

from django.core.mail import send_mail
from django.tasks import task
from django.utils import timezone

from orders.models import Order


@task(queue_name="mail")
def send_confirmation(order_id: int) -> str:
    """Mail the customer, unless an earlier run of this task has done so."""
    order = Order.objects.get(pk=order_id)
    if order.confirmed_at is None:
        send_mail("Your order", f"We received your order: {order.item}.", None, [order.email])
        Order.objects.filter(pk=order_id).update(confirmed_at=timezone.now())
    return order.email
