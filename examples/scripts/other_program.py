"""Emit jobs from a program that does not have the workers' code."""

from taskmanager import TaskManager

tm = TaskManager()


@tm.stub(queue="invoices")
def send_invoice(customer: str, month: str) -> str:
    raise NotImplementedError("it runs elsewhere")


print(send_invoice.emit_sync("Ada", "2026-03").result(timeout=60))

# The same by name, with the arguments as JSON. Nothing is checked before the job reaches a worker.
handle = tm.emit_sync(
    "send_invoice",
    queue="invoices",
    data={"customer": "Grace", "month": "2026-03"},
    deduplicate=False,
)
print(handle.result(timeout=60))
