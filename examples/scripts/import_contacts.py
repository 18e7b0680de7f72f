"""Emit a job for each line of a CSV file, in batches, and wait until they have run.

python import_contacts.py contacts.csv
"""

import csv
import sys
from collections.abc import Iterable, Iterator
from itertools import islice

from jobs import add_contact, tm

BATCH = 1_000

Row = dict[str, str]


def batches(rows: Iterable[Row]) -> Iterator[list[Row]]:
    """Yield the rows in batches, so that only one batch is in memory."""
    rows = iter(rows)
    while batch := list(islice(rows, BATCH)):
        yield batch


def main(path: str) -> None:
    emitted = 0
    with open(path, newline="") as file:
        for batch in batches(csv.DictReader(file)):
            add_contact.emit_many_sync(add_contact.bind(row["name"], row["email"]) for row in batch)
            emitted += len(batch)
    tm.sync.drain(add_contact.queue)
    stats = tm.sync.stats(add_contact.queue)
    print(f"{emitted} emitted, {stats.dead} dead letters")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "contacts.csv")
