"""Take an order, and report on its confirmation."""

from __future__ import annotations

from functools import partial

from django.db import transaction
from django.http import HttpRequest, JsonResponse
from django.shortcuts import get_object_or_404
from django.tasks.exceptions import TaskResultDoesNotExist
from django.views.decorators.http import require_GET, require_POST

from orders.models import Order
from orders.tasks import send_confirmation


@require_POST
def create(request: HttpRequest) -> JsonResponse:
    with transaction.atomic():
        order = Order.objects.create(email=request.POST["email"], item=request.POST["item"])
        # Robust: the order is committed, so an error of the enqueue is logged, not raised.
        transaction.on_commit(partial(confirm, order.pk), robust=True)
    return JsonResponse({"order": order.pk}, status=201)


def confirm(order_id: int) -> None:
    result = send_confirmation.enqueue(order_id)
    Order.objects.filter(pk=order_id).update(task_id=result.id)


@require_GET
def status(request: HttpRequest, pk: int) -> JsonResponse:
    order = get_object_or_404(Order, pk=pk)
    try:
        task = send_confirmation.get_result(order.task_id).status
    except TaskResultDoesNotExist:
        # It is not enqueued yet, or it finished more than result_ttl seconds ago.
        task = None
    return JsonResponse({"confirmed": order.confirmed_at is not None, "task": task})
