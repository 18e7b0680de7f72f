"""``python -m taskmanager``: the command line."""

from taskmanager.cli import main

if __name__ == "__main__":
    main()
