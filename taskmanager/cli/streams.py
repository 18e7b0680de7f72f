"""Make sure that output arrives on any kind of stdout and stderr, or report why it does not."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import traceback
from collections.abc import Iterator

import click

from taskmanager.cli.exits import FAILURE


@contextlib.contextmanager
def arriving() -> Iterator[None]:
    """Print characters that a terminal lacks as escapes; end with 1 if nothing can be printed.

    Payloads and errors may be in any script, and a terminal may know Latin-1 only.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")
    try:
        yield
    except OSError as error:
        if not _is_of_output(error):
            raise
        _give_up(error)


def _is_of_output(error: OSError) -> bool:
    # click writes everything that is printed, and flushes it at once.
    frames = traceback.walk_tb(error.__traceback__)
    return any(frame.f_code is click.echo.__code__ for frame, _ in frames)


def _give_up(error: OSError) -> None:
    with contextlib.suppress(OSError):
        print(f"Error: cannot write the output: {error.strerror}", file=sys.stderr, flush=True)
    # The interpreter tries once more to write the buffers when it ends.
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            os.dup2(nowhere, stream.fileno())
    sys.exit(FAILURE)
