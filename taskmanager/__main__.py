"""Entry point of the command line: `python -m taskmanager`, also installed as `taskmanager`."""

from __future__ import annotations

import signal


def main() -> None:
    """Run the command line for this process, and end the process with one of its exit codes."""
    ours = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if ours:
        # Ctrl-C ends the process as it ends any program. Python's own handler would print a
        # traceback from the middle of an import.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from taskmanager.cli import main as run

    if ours:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    run()


if __name__ == "__main__":
    main()
