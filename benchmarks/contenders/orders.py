"""The typed payload: an order of about 200 bytes, and the result that it leads to."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel


class Line(BaseModel):
    """One line of an order; the price is in cents."""

    sku: str
    quantity: int
    price: int


class Order(BaseModel):
    """What a handler of typed payloads takes."""

    id: int
    customer: str
    lines: list[Line]


def order(number: int) -> dict[str, Any]:
    """Return an order as JSON values."""
    lines = [{"sku": f"A{line}", "quantity": line, "price": 995} for line in range(1, 6)]
    return {"id": number, "customer": "Ada", "lines": lines}


def receipt(order: Order) -> dict[str, int]:
    """Return the result of an order's job."""
    return {"id": order.id, "total": sum(line.quantity * line.price for line in order.lines)}
