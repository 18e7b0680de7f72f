"""``queues``, ``jobs``, ``dlq`` and ``emit`` on real servers, without any app."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import redis as redis_py
from click.testing import CliRunner, Result

from consumers.store.keys import Keys
from taskmanager import Job, TaskManager
from taskmanager.cli import cli
from tests.support.proxy import FaultProxy
from tests.support.servers import RedisServer
from tests.support.waiting import PATIENCE

ROOT = Path(__file__).resolve().parents[2]
ISO = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")

Run = Callable[..., Result]


@pytest.fixture
def run(server: RedisServer) -> Run:
    """Run a command line on the server; stdin is no terminal."""

    def run(*arguments: str, code: int = 0) -> Result:
        result = CliRunner().invoke(cli, ("--url", server.url, *arguments))
        assert result.exit_code == code, result.output
        assert "Traceback" not in result.stderr
        return result

    return run


@pytest.fixture
def work(server: RedisServer) -> Callable[..., None]:
    """Emit jobs, each a dict, and run all that is due."""

    def work(*items: dict[str, Any]) -> None:
        asyncio.run(_work(TaskManager(server.url), items))

    return work


Work = Callable[..., None]


async def _work(tm: TaskManager[Any], items: tuple[dict[str, Any], ...]) -> None:
    async def note(job: Job[Any]) -> Any:
        await job.logger(f"got {job.data}")
        await job.progress(1, 2, "half")
        return {"got": job.data}

    async def fail(job: Job[Any]) -> None:
        raise OSError(f"cannot do {job.data}")

    for queue in ("default", "mail"):
        tm.registerHandler(note, event="note", queue=queue)
        tm.registerHandler(fail, event="fail", queue=queue)
    async with tm:
        await tm.emit_many(items)
        await tm.start()
        await tm.until_idle()


def failing(*data: object, queue: str = "default") -> list[dict[str, Any]]:
    return [{"event": "fail", "queue": queue, "data": it, "id": f"id-{it}"} for it in data]


# --- queues ------------------------------------------------------------------------------


def test_queues_are_listed_with_their_figures(run: Run, work: Work) -> None:
    work({"event": "note"}, *failing(1, 2, queue="mail"))
    run("emit", "later", "--delay", "1h")
    run("emit", "send", "-q", "mail")

    text = run("queues", "ls").stdout.splitlines()
    found = json.loads(run("queues", "ls", "--json").stdout)

    assert text[0].split() == [
        "queue", "waiting", "delayed", "active", "dead", "completed", "oldest", "paused",
    ]  # fmt: skip
    assert text[1].split() == ["default", "0", "1", "0", "0", "1", "-", "-"]
    assert text[2].split()[:6] == ["mail", "1", "0", "0", "2", "0"]
    assert [(it["queue"], it["dead"], it["failed_total"]) for it in found] == [
        ("default", 0, 0),
        ("mail", 2, 2),
    ]


def test_a_queue_is_shown_with_its_lanes(run: Run) -> None:
    run("emit", "send", "--priority", "5")

    text = run("queues", "show", "default").stdout
    found = json.loads(run("queues", "show", "default", "--json").stdout)

    assert re.search(r"^waiting +1$", text, re.MULTILINE)
    assert re.search(r"^workers:default:5 +1 +0 +\d", text, re.MULTILINE)
    assert (found["queue"], found["waiting"], len(found["lanes"])) == ("default", 1, 1)
    assert found["vanished_total"] == 0
    assert found["oldest_waiting_ms"] >= 0


def test_a_queue_that_is_not_there_exits_1_and_names_those_that_are(run: Run) -> None:
    assert "there are no queues yet" in run("queues", "show", "mail", code=1).stderr
    run("emit", "send", "-q", "mails")

    assert "the queues are: mails" in run("queues", "show", "mail", code=1).stderr


def test_no_queues_are_an_empty_list(run: Run) -> None:
    assert json.loads(run("queues", "ls", "--json").stdout) == []
    assert run("queues", "ls").stdout == ""


def test_listing_queues_never_scans_the_keys(run: Run, redis: redis_py.Redis) -> None:
    run("emit", "send")

    run("queues", "ls")
    run("queues", "show", "default")

    stats: Any = redis.info("commandstats")
    assert not {"cmdstat_scan", "cmdstat_keys"} & set(stats)


# --- jobs --------------------------------------------------------------------------------


def test_a_waiting_job_is_shown_with_what_it_was_given(run: Run) -> None:
    run("emit", "send", "--id", "7", "--data", '{"to": "ada"}', "--max-retries", "2",
        "--timeout", "5m", "--delay", "2h")  # fmt: skip

    text = run("jobs", "show", "7").stdout
    found = json.loads(run("jobs", "show", "7", "--json").stdout)

    assert re.search(r"^state +delayed$", text, re.MULTILINE)
    assert '\ndata\n  {"to": "ada"}\n' in text
    assert (found["id"], found["event"], found["state"]) == ("7", "send", "delayed")
    assert found["options"] == {"max_retries": 2, "timeout": 300.0}
    assert ISO.fullmatch(found["created_at"])
    due, created = (datetime.fromisoformat(found[it]) for it in ("due_at", "created_at"))
    assert timedelta(0) <= due - created - timedelta(hours=2) < timedelta(seconds=1)


def test_a_completed_job_is_shown_with_its_result_and_progress(run: Run, work: Work) -> None:
    work({"event": "note", "id": "7", "data": 1})

    text = run("jobs", "show", "7").stdout
    found = json.loads(run("jobs", "show", "7", "--json").stdout)

    assert re.search(r"^progress +1 of 2, half", text, re.MULTILINE)
    assert text.endswith('result\n  {"got": 1}\n')
    assert (found["state"], found["result"]) == ("completed", {"got": 1})
    assert found["progress"]["note"] == "half"
    assert re.search(r"^event +note$", text, re.MULTILINE)
    assert re.search(r"^attempts +1\nworker +\S+\ncreated at +\S+Z$", text, re.MULTILINE)
    assert re.search(r"^finished at +\S+Z\ntook +[\d.]+m?s$", text, re.MULTILINE)
    assert "last started at" not in text
    assert "\ndata" not in text
    times = [found[it] for it in ("created_at", "started_at", "last_started_at", "finished_at")]
    assert all(map(ISO.fullmatch, times))
    assert times == sorted(times)
    assert (found["attempts"], found["workers"]) == (1, [found["worker"]])


def test_a_dead_job_is_shown_with_its_letter(run: Run, work: Work) -> None:
    work(*failing("x"))

    text = run("jobs", "show", "id-x").stdout
    found = json.loads(run("jobs", "show", "id-x", "--json").stdout)

    assert "reason: failed\n  Traceback" in text
    assert text.endswith("  OSError: cannot do x\n")
    assert (found["state"], found["letter"]["reason"]) == ("dead", "failed")
    assert found["error_type"] == found["errors"][0]["type"] == "builtins.OSError"


def test_a_job_prints_its_log(run: Run, work: Work) -> None:
    work({"event": "note", "id": "7", "data": "one\n\x1b[2Jtwo"})

    text = run("jobs", "logs", "7").stdout
    found = json.loads(run("jobs", "logs", "7", "--json").stdout)

    assert re.fullmatch(r"\S+Z  got one\\n\\x1b\[2Jtwo\n", text)
    assert [it["message"] for it in found] == ["got one\n\x1b[2Jtwo"]
    assert ISO.fullmatch(found[0]["at"])


def test_a_job_without_a_log_prints_nothing(run: Run) -> None:
    run("emit", "send", "--id", "7")

    assert run("jobs", "logs", "7").stdout == ""
    assert json.loads(run("jobs", "logs", "7", "--json").stdout) == []


@pytest.mark.parametrize("command", [("jobs", "show"), ("jobs", "logs"), ("dlq", "show")])
def test_what_nobody_knows_exits_1_and_names_the_queue(run: Run, command: tuple[str, ...]) -> None:
    result = run(*command, "7", "-q", "mail", code=1)

    assert result.stdout == ""
    assert re.search("job '7' .* in queue 'mail'", result.stderr)


@pytest.mark.parametrize(
    "arguments",
    [
        ("queues", "show", "not a name"),
        ("jobs", "show", "two words"),
        ("jobs", "logs", "7", "-q", "not a name"),
        ("dlq", "ls", "-q", "not a name"),
        ("dlq", "replay", "two words"),
        ("dlq", "purge", "--yes", "--older-than", "400d"),
    ],
)
def test_a_name_that_is_not_allowed_exits_2(run: Run, arguments: tuple[str, ...]) -> None:
    assert "is not allowed" in run(*arguments, code=2).stderr


# --- dlq ls, show ------------------------------------------------------------------------


def test_dead_letters_are_listed_newest_first_with_long_payloads_cut(run: Run, work: Work) -> None:
    work(*failing(1))
    work({"event": "fail", "id": "id-2", "data": "\x1b[2J" + 1000 * "x"})

    header, second, first = run("dlq", "ls").stdout.splitlines()
    found = json.loads(run("dlq", "ls", "--json").stdout)

    assert header.split() == ["died", "at", "id", "event", "reason", "attempts", "data", "error"]
    assert re.match(r"\S+Z  id-1  fail   failed         1  1 +OSError: cannot do 1$", first)
    assert "\\u001b[2Jxxx" in second
    assert "xxx...  OSError" in second
    assert len(second) < 170
    assert [it["id"] for it in found] == ["id-2", "id-1"]
    assert len(found[0]["data"]) == 1004
    assert ISO.fullmatch(found[0]["died_at"])


def test_a_limit_leaves_out_the_older_letters_and_says_so(run: Run, work: Work) -> None:
    work(*failing(1, 2, 3))

    result = run("dlq", "ls", "--limit", "2")

    assert len(result.stdout.splitlines()) == 3
    assert "the newest 2 of 3" in result.stderr
    assert run("dlq", "ls", "--limit", "3").stderr == ""


def test_no_dead_letters_are_an_empty_list(run: Run) -> None:
    assert json.loads(run("dlq", "ls", "--json").stdout) == []
    assert "no dead letters in queue 'default'" in run("dlq", "ls").stderr


def test_a_letter_is_shown_with_its_history_and_traceback(run: Run, work: Work) -> None:
    work(*failing("x"))

    text = run("dlq", "show", "id-x").stdout
    found = json.loads(run("dlq", "show", "id-x", "--json").stdout)

    assert re.search(r"^reason +failed$", text, re.MULTILINE)
    assert re.search(
        r"^  \S+Z  attempt 1, delivery 1 on \S+  OSError: cannot do x$", text, re.MULTILINE
    )
    assert "\nerror\n  Traceback" in text
    assert found["errors"][0]["error"] == "OSError: cannot do x"
    assert found["errors"][0]["type"] == "builtins.OSError"
    assert all(ISO.fullmatch(found["errors"][0][time]) for time in ("at", "started"))


def test_a_foreign_entry_is_shown_and_cannot_be_replayed(
    run: Run, work: Work, redis: redis_py.Redis
) -> None:
    work({"event": "note"})
    (lane,) = redis.zrange(Keys("default").lanes, 0, -1)
    assert isinstance(lane, bytes)
    redis.xadd(f"{Keys('default').base}lane:{lane.decode()}", {b"\xff\x1b": b"?"})
    work()

    (found,) = json.loads(run("dlq", "ls", "--json").stdout)
    text = run("dlq", "show", found["id"]).stdout
    listed = run("dlq", "ls").stdout
    refusal = run("dlq", "replay", found["id"], code=1).stderr

    assert found["id"].startswith("foreign:")
    assert found["raw"]
    assert "\nraw\n" in text
    assert "\x1b" not in text + listed
    assert "it is a foreign entry" in refusal


# --- dlq replay, purge -------------------------------------------------------------------


def test_named_letters_are_replayed_and_the_others_named(run: Run, work: Work) -> None:
    work(*failing(1, 2, 3))

    result = run("dlq", "replay", "id-1", "id-9", "id-2", "id-1", code=1)

    assert result.stdout == "id-1\nid-2\n"
    assert "'id-9' of queue 'default' cannot be replayed" in result.stderr
    assert json.loads(run("jobs", "show", "id-1", "--json").stdout)["state"] == "waiting"
    assert [it["id"] for it in json.loads(run("dlq", "ls", "--json").stdout)] == ["id-3"]


def test_the_letter_of_a_live_job_stays(run: Run, work: Work) -> None:
    work(*failing(1))
    run("emit", "fail", "--id", "id-1")

    result = run("dlq", "replay", "id-1")

    assert result.stdout == ""
    assert "'id-1' is already live" in result.stderr
    assert json.loads(run("dlq", "replay", "id-1", "--json").stdout) == {
        "queue": "default",
        "replayed": 0,
        "kept": 1,
    }


def test_all_letters_are_replayed_with_progress_on_stderr(run: Run, work: Work) -> None:
    work(*failing(*range(20)))

    result = run("dlq", "replay", "--all", "--yes", "--rate", "100/s")

    assert result.stdout == "replayed 20\n"
    assert result.stderr.splitlines() == ["10 of 20", "20 of 20"]
    assert json.loads(run("queues", "show", "default", "--json").stdout)["waiting"] == 20
    again = run("dlq", "replay", "--all", "--yes", "--json")
    assert json.loads(again.stdout) == {"queue": "default", "replayed": 0, "kept": 0}


def test_letters_are_purged_by_age(run: Run, work: Work) -> None:
    work(*failing(1, 2, queue="mail"), *failing(3))

    assert run("dlq", "purge", "-q", "mail", "--older-than", "1h", "--yes").stdout == "purged 0\n"
    assert run("dlq", "purge", "-q", "mail", "--yes").stdout == "purged 2\n"
    assert json.loads(run("dlq", "purge", "--yes", "--json").stdout) == {
        "queue": "default",
        "purged": 1,
    }


@pytest.mark.parametrize(
    "command", [["purge"], ["purge", "--older-than", "0"], ["replay", "--all"]]
)
def test_without_a_terminal_nothing_is_destroyed(run: Run, work: Work, command: list[str]) -> None:
    work(*failing(1))

    assert "add --yes" in run("dlq", *command, code=2).stderr
    assert len(json.loads(run("dlq", "ls", "--json").stdout)) == 1


@pytest.mark.parametrize(("word", "code", "left"), [("n", 1, 1), ("y", 0, 0)])
def test_on_a_terminal_somebody_is_asked(
    server: RedisServer, run: Run, work: Work, word: str, code: int, left: int
) -> None:
    work(*failing(1))

    with terminal("--url", server.url, "dlq", "purge") as (process, screen):
        text = read(screen, until="[y/N]")
        os.write(screen, f"{word}\n".encode())
        ended = process.wait(PATIENCE)

    assert "Permanently delete 1 dead letters in queue 'default' on redis://" in text
    assert ended == code
    assert len(json.loads(run("dlq", "ls", "--json").stdout)) == left


@contextlib.contextmanager
def terminal(*arguments: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Run the command line in a terminal of its own."""
    screen, inside = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "taskmanager", *arguments],
        cwd=ROOT, stdin=inside, stdout=inside, stderr=inside, start_new_session=True,
    )  # fmt: skip
    os.close(inside)
    try:
        yield process, screen
    finally:
        process.kill()
        process.wait()
        os.close(screen)


def read(screen: int, until: str) -> str:
    """Return what appears up to a text; the test's own timeout is the deadline."""
    text = ""
    while until not in text:
        text += os.read(screen, 1024).decode()
    return text


# --- What Redis says ---------------------------------------------------------------------


def test_a_redis_that_does_not_answer_exits_3_after_two_seconds(server: RedisServer) -> None:
    with FaultProxy(server.port) as proxy:
        proxy.swallow()
        result = CliRunner().invoke(cli, ("--url", proxy.url, "queues", "ls"))

    assert result.exit_code == 3
    assert "no answer within 2 s" in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_command_that_is_not_permitted_exits_1_with_one_line(
    server: RedisServer, redis: redis_py.Redis
) -> None:
    redis.acl_setuser(
        "ann", enabled=True, passwords=["+s3cret"], keys="*", commands=["+@all", "-xrevrange"]
    )
    url = server.url.replace("//", "//ann:s3cret@")

    result = CliRunner().invoke(cli, ("--url", url, "dlq", "ls"))

    assert result.exit_code == 1
    assert "Redis refused a command: " in result.stderr
    assert result.stderr.count("\n") == 1
    assert "s3cret" not in result.output


def test_the_url_and_namespace_may_come_from_the_environment(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TASKMANAGER_REDIS_URL", server.url)
    monkeypatch.setenv("TASKMANAGER_NAMESPACE", "shop")
    CliRunner().invoke(cli, ("emit", "send", "--id", "7"), catch_exceptions=False)
    monkeypatch.delenv("TASKMANAGER_NAMESPACE")

    there = CliRunner().invoke(cli, ("--namespace", "shop", "jobs", "show", "7"))
    elsewhere = CliRunner().invoke(cli, ("jobs", "show", "7"))

    assert (there.exit_code, elsewhere.exit_code) == (0, 1)


def test_a_job_is_explained(run: Run) -> None:
    run("emit", "send", "--id", "a", "-q", "mail")
    run("queues", "pause", "mail")

    lines = run("jobs", "explain", "a", "-q", "mail").stdout.splitlines()
    told = json.loads(run("jobs", "explain", "a", "-q", "mail", "--json").stdout)

    assert lines == [
        "reason     why",
        "paused     queue 'mail' is paused",
        "no_worker  no live worker of type 'workers' reads queue 'mail'",
    ]
    assert (told["id"], told["queue"], told["reason"]) == ("a", "mail", "paused")
    assert [it["reason"] for it in told["details"]] == ["no_worker"]


def test_a_job_that_nobody_knows_cannot_be_explained(run: Run) -> None:
    result = run("jobs", "explain", "a", code=1)
    told = json.loads(run("jobs", "explain", "a", "--json", code=1).stdout)

    assert "'a' is not known in queue 'default'" in result.stderr
    assert told["reason"] == "unknown"


def test_the_reasons_of_a_queue_are_listed(run: Run) -> None:
    run("emit", "send", "--id", "a")
    run("emit", "send", "--id", "b", "--delay", "2h")

    lines = run("queues", "explain").stdout.splitlines()
    told = json.loads(run("queues", "explain", "default", "--json").stdout)

    assert lines[0].split() == ["reason", "jobs", "example", "why"]
    assert [line.split()[:3] for line in lines[1:]] == [
        ["delayed", "1", "b"],
        ["no_worker", "1", "a"],
    ]
    assert {name: told[name] for name in ("queue", "jobs", "looked_at")} == {
        "queue": "default", "jobs": 2, "looked_at": 2,
    }  # fmt: skip
    assert [it["reason"] for it in told["reasons"]] == ["delayed", "no_worker"]
    assert told["more_lanes"] == 0
    assert run("queues", "explain", "empty").stderr.strip() == "no job of queue 'empty' waits"


def test_it_is_said_how_many_lanes_of_a_queue_were_not_looked_at(
    run: Run, redis: redis_py.Redis
) -> None:
    redis.zadd(Keys("default").lanes, {f"workers:p{n}:0": 0 for n in range(260)})

    result = run("queues", "explain")

    assert result.stderr.splitlines()[-1] == "did not look at the jobs in 4 other lanes"
