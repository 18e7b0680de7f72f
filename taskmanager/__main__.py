"""``python -m taskmanager``, also installed as ``taskmanager``: the command line."""

from __future__ import annotations

import signal


def main() -> None:
    """Run the command line of this process; ends it with one of its exit codes."""
    ours = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if ours:
        # An interrupt ends the process as it does any program. Python's own handler would print
        # where the import stood.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from taskmanager.cli import main as run

    if ours:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    run()


if __name__ == "__main__":
    main()
