"""What commands print, on streams that cannot take all of it."""

from __future__ import annotations

import errno
import io
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from taskmanager.cli.streams import arriving
from taskmanager.cli.work import say

ROOT = Path(__file__).resolve().parents[4]


class Full(io.StringIO):
    """A file on a disk without room."""

    def write(self, text: str) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def stream(errors: str = "strict", encoding: str = "latin-1") -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors=errors, write_through=True)


def written(text: io.TextIOWrapper) -> bytes:
    assert isinstance(text.buffer, io.BytesIO)
    return text.buffer.getvalue()


def test_what_an_encoding_lacks_is_printed_as_escapes(monkeypatch: pytest.MonkeyPatch) -> None:
    out, err = stream(), stream()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)

    with arriving():
        click.echo("Grüße 你好")
        click.echo("Grüße 你好", err=True)

    assert written(out) == written(err) == b"Gr\xfc\xdfe \\u4f60\\u597d\n"


def test_what_somebody_chose_for_errors_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    out = stream(errors="replace")
    monkeypatch.setattr(sys, "stdout", out)

    with arriving():
        click.echo("你好")

    assert written(out) == b"??\n"


def test_a_full_disk_ends_the_command_with_1_and_the_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    err = stream(encoding="utf-8")
    monkeypatch.setattr(sys, "stdout", Full())
    monkeypatch.setattr(sys, "stderr", err)

    with pytest.raises(SystemExit) as ended, arriving():
        click.echo("hello")

    assert ended.value.code == 1
    assert written(err) == b"Error: cannot write the output: No space left on device\n"


def test_another_error_of_the_system_keeps_its_traceback() -> None:
    with pytest.raises(FileNotFoundError), arriving():
        open("/no/such/file")  # noqa: SIM115


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["queues", "--help"]])
def test_a_command_says_in_one_line_that_its_output_had_no_room(arguments: list[str]) -> None:
    with open("/dev/full", "w") as full:
        ended = subprocess.run(
            [sys.executable, "-m", "taskmanager", *arguments],
            cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip

    assert ended.stderr == "Error: cannot write the output: No space left on device\n"
    assert ended.returncode == 1


def test_a_worker_starts_although_there_is_no_room_for_its_banner(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "stderr", Full())

    say("taskmanager 0.1.0")
