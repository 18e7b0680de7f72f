"""The arguments and options that several commands have."""

from __future__ import annotations

import click

job_id = click.argument("job_id", metavar="ID")
queue = click.option("-q", "--queue", default="default", show_default=True)
yes = click.option("--yes", is_flag=True, help="Do not ask.")
as_object = click.option("--json", "as_object", is_flag=True, help="Print one object.")
as_array = click.option("--json", "as_array", is_flag=True, help="Print one array.")
