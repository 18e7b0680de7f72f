"""Send the invoices of this month and wait for them. In the crontab:

    0 6 1 * *  cd /srv/shop && .venv/bin/python send_invoices.py

Running it twice within 24 hours sends no invoice twice: each has an idempotency key.
"""

import sys
from datetime import UTC, datetime

from taskmanager import ResultUnavailable

from jobs import send_invoice

CUSTOMERS = ["Ada", "Grace", "Linus"]


def main() -> int:
    month = f"{datetime.now(UTC):%Y-%m}"
    handles = send_invoice.emit_many_sync(
        send_invoice.options(idempotency_key=f"{month} {customer}").bind(customer, month)
        for customer in CUSTOMERS
    )
    failed = 0
    for handle in handles:
        try:
            print(handle.result(timeout=60))
        except ResultUnavailable as error:  # It failed, was cancelled, or takes longer.
            print(error, file=sys.stderr)
            failed += 1
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
