"""Have what commands print arrive, whatever stdout and stderr are, or say why it does not."""

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
    """Print what a terminal's encoding lacks as escapes; end with 1 where nothing can be printed.

    Payloads and errors come in any script, and a terminal may know Latin-1 only.
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
    # click writes all that is printed, and flushes it at once.
    frames = traceback.walk_tb(error.__traceback__)
    return any(frame.f_code is click.echo.__code__ for frame, _ in frames)


def _give_up(error: OSError) -> None:
    with contextlib.suppress(OSError):
        print(f"Error: the output cannot be written: {error.strerror}", file=sys.stderr, flush=True)
    # What is left in the buffers is tried once more when the interpreter ends.
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            os.dup2(nowhere, stream.fileno())
    sys.exit(FAILURE)
