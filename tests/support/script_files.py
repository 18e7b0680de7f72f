"""The scripts as they lie in their folders: their names, their text, and what stands on top."""

from __future__ import annotations

from importlib import resources

FOLDERS = [resources.files(it).joinpath("lua") for it in ("consumers.store", "processors")]


def all_names() -> set[str]:
    """Return the names of all scripts."""
    files = (file.name for folder in FOLDERS for file in folder.iterdir())
    return {name.removesuffix(".lua") for name in files if name.endswith(".lua")}


def own_text(name: str) -> str:
    """Return the text of a script without what it includes."""
    files = (folder.joinpath(f"{name}.lua") for folder in FOLDERS)
    return next(file for file in files if file.is_file()).read_text("utf-8")


def header(name: str) -> str:
    """Return the comment at the top of a script, without its includes."""
    lines = own_text(name).splitlines()
    end = next(n for n, line in enumerate(lines) if not line.startswith("--"))
    return "\n".join(line for line in lines[:end] if not line.startswith("-- include"))
