"""The command `manage.py taskmanager`: the command line, with the task manager of a backend."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.tasks import DEFAULT_TASK_BACKEND_ALIAS

from taskmanager.cli import main
from taskmanager.contrib.django import workers


class Command(BaseCommand):
    """Passes its arguments to the command line, which ends the process with its exit code."""

    help = (
        "Run the tasks of a backend (taskmanager worker -c 8 -p 2), and manage its queues, jobs, "
        "schedules and dead letters. 'taskmanager' alone lists the commands; 'taskmanager worker "
        "--help' lists the options of one."
    )
    # A worker is not a web server; it checks the settings that it needs.
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        """Accept a backend; everything after it belongs to the command line."""
        parser.add_argument(
            "--backend",
            default=DEFAULT_TASK_BACKEND_ALIAS,
            help="Alias of the backend in TASKS (default: 'default').",
        )
        parser.add_argument("args", metavar="command ...", nargs=argparse.REMAINDER)

    def handle(self, *args: str, **options: Any) -> None:
        """Run the command line; does not return."""
        if not self._called_from_command_line:
            raise CommandError(
                "this command ends its process, so run it from a shell. In a test, await "
                "taskmanager.contrib.django.workers.worker_manager().run(burst=True)"
            )
        try:
            tm = workers.worker_manager(options["backend"])
        except ImproperlyConfigured as error:
            raise CommandError(str(error)) from error
        if args[:1] == ("worker",) and not tm.handlers:
            raise CommandError(
                "there is no task to run: put tasks into the tasks module of an installed app, "
                "or name their modules in OPTIONS['include']"
            )
        workers.choose(options["backend"])
        app = f"{workers.__name__}:{workers.chosen.__name__}"
        given = _own(args) or ["--help"]
        main(["--app", app, *given], prog_name=f"{Path(sys.argv[0]).name} taskmanager")


def _own(args: tuple[str, ...]) -> list[str]:
    """Return the arguments without the ones of manage.py, which it accepts in any place."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--settings")
    parser.add_argument("--pythonpath")
    return parser.parse_known_args(args)[1]
