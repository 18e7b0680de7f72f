"""``schedules``, ``jobs cancel``, ``queues pause`` and storms of ``emit``, on real servers."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
import redis as redis_py
from click.testing import CliRunner, Result

from consumers.store.keys import Fleet
from taskmanager import Job, TaskManager
from taskmanager.cli import asking, cli
from tests.support.servers import RedisServer
from tests.support.waiting import PATIENCE, aeventually

Run = Callable[..., Result]
Make = Callable[..., TaskManager]

ISO = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


@pytest.fixture
def run(server: RedisServer) -> Run:
    """Run a command line on the server; stdin is no terminal."""

    def run(*arguments: str, code: int = 0, stdin: str | None = None) -> Result:
        result = CliRunner().invoke(cli, ("--url", server.url, *arguments), input=stdin)
        assert result.exit_code == code, result.output
        assert "Traceback" not in result.stderr
        return result

    return run


@pytest.fixture
def schedule(server: RedisServer) -> Callable[..., None]:
    """Register a schedule as an emit does: its event, the rest as emit takes it."""

    async def emit(event: str, queue: str, data: object, repeat: dict[str, Any]) -> None:
        async with TaskManager(server.url) as tm:
            await tm.emit(event, queue=queue, data=data, repeat=repeat)

    def schedule(
        event: str, pattern: str, *, queue: str = "default", data: object = None, **repeat: Any
    ) -> None:
        given = {"name": event, "pattern": pattern, **repeat}
        asyncio.run(emit(event, queue, {} if data is None else data, given))

    return schedule


Schedule = Callable[..., None]


def found(result: Result) -> Any:
    return json.loads(result.stdout)


# --- schedules ls, next ------------------------------------------------------------------


def test_schedules_of_all_queues_are_listed_with_their_next_fire(
    run: Run, schedule: Schedule
) -> None:
    schedule("report", "30 2 * * *", tz="Europe/Berlin", missed="all", data={"country": "de"})
    schedule("clean", "@hourly", queue="mail", name="cleanup")

    header, *lines = run("schedules", "ls").stdout.splitlines()
    listed = found(run("schedules", "ls", "--json"))

    assert header.split() == ["name", "queue", "event", "pattern", "tz", "next", "last", "paused"]
    assert re.match(r"report +default +report +30 2 \* \* \* +Europe/Berlin +\S+Z +- +-$", lines[0])
    assert re.match(r"cleanup +mail +clean +@hourly +UTC +\S+:00:00Z +- +-$", lines[1])
    assert [(it["name"], it["queue"], it["source"]) for it in listed] == [
        ("report", "default", "emit"),
        ("cleanup", "mail", "emit"),
    ]
    assert (listed[0]["data"], listed[0]["missed"]) == ({"country": "de"}, "all")
    assert len(listed[0]["next_fires"]) == 5
    assert all(ISO.fullmatch(it) for it in [*listed[0]["next_fires"], listed[0]["registered_at"]])
    assert listed[0]["last_fired"] is None


def test_schedules_of_one_queue_are_listed(run: Run, schedule: Schedule) -> None:
    schedule("report", "@daily")
    schedule("report", "@daily", queue="mail")

    assert [it["queue"] for it in found(run("schedules", "ls", "-q", "mail", "--json"))] == ["mail"]
    assert len(run("schedules", "ls", "-q", "mail").stdout.splitlines()) == 2


def test_no_schedules_are_an_empty_list(run: Run) -> None:
    assert found(run("schedules", "ls", "--json")) == []
    assert run("schedules", "ls").stdout == ""
    assert "no schedules in queue 'mail'" in run("schedules", "ls", "-q", "mail").stderr


def test_the_next_fires_are_shown_by_both_clocks(run: Run, schedule: Schedule) -> None:
    schedule("report", "30 2 * * *", tz="Europe/Berlin")
    schedule("clean", "*/10 * * * *")

    lines = run("schedules", "next", "report").stdout.splitlines()
    short = run("schedules", "next", "clean", "-n", "2").stdout.splitlines()

    assert len(lines) == 5
    assert all(
        re.fullmatch(r"\S+Z  \S+ 0[23]:[03]0:00 \+0[12]00 Europe/Berlin", it) for it in lines
    )
    assert [it[-6:] for it in short] == [f"{it[-6]}0:00Z" for it in short]


@pytest.mark.parametrize("pattern", ["@hourly", "every 3600 s"])
def test_more_fires_than_are_kept_in_mind_go_on_without_a_gap(
    run: Run, schedule: Schedule, pattern: str
) -> None:
    schedule("clean", pattern)

    fires = [
        datetime.fromisoformat(it)
        for it in found(run("schedules", "next", "clean", "-n", "50", "--json"))
    ]

    assert len(fires) == 50
    assert {later - fire for fire, later in pairwise(fires)} == {timedelta(hours=1)}
    assert timedelta(0) < fires[0] - datetime.now(UTC) <= timedelta(hours=1)
    assert f"clean  {pattern}  UTC" in run("schedules", "ls").stdout


# --- schedules run, pause, resume, rm ----------------------------------------------------


def test_a_schedule_that_is_run_emits_its_job_now(run: Run, schedule: Schedule) -> None:
    schedule("report", "@yearly", data={"country": "de"})

    job_id = run("schedules", "run", "report").stdout.strip()
    again = found(run("schedules", "run", "report", "--json"))

    job = found(run("jobs", "show", job_id, "--json"))
    assert (job["state"], job["event"], job["data"]) == ("waiting", "report", {"country": "de"})
    assert again["id"] != job_id
    assert (again["queue"], again["created"]) == ("default", True)
    assert found(run("schedules", "ls", "--json"))[0]["last_fired"] is None


def test_a_paused_schedule_has_no_next_fire_until_it_is_resumed(
    run: Run, schedule: Schedule
) -> None:
    schedule("report", "@daily", queue="mail")

    said = run("schedules", "pause", "report", "-q", "mail").stdout
    paused = run("schedules", "ls").stdout.splitlines()[1]
    nothing = run("schedules", "next", "report", "-q", "mail")
    resumed = run("schedules", "resume", "report", "-q", "mail")

    assert said == "schedule 'report' of queue 'mail' is paused\n"
    assert re.search(r"UTC +- +- +paused$", paused)
    assert nothing.stdout == ""
    assert "is paused and does not fire (paused)" in nothing.stderr
    assert resumed.stdout == "schedule 'report' of queue 'mail' is resumed\n"
    assert re.search(r"it next fires at \S+T00:00:00Z$", resumed.stderr.strip())
    assert found(run("schedules", "ls", "--json"))[0]["paused"] is None


def test_a_schedule_is_removed_when_that_is_confirmed(run: Run, schedule: Schedule) -> None:
    schedule("report", "@daily")

    refused = run("schedules", "rm", "report", code=2)
    left = found(run("schedules", "ls", "--json"))
    removed = run("schedules", "rm", "report", "--yes")

    assert "add --yes" in refused.stderr
    assert len(left) == 1
    assert removed.stdout == "schedule 'report' of queue 'default' is removed\n"
    assert removed.stderr == ""
    assert found(run("schedules", "ls", "--json")) == []


@pytest.mark.parametrize(("word", "code", "left"), [("n", 1, 1), ("y", 0, 0)])
def test_on_a_terminal_somebody_is_asked_before_a_schedule_is_removed(
    run: Run, schedule: Schedule, monkeypatch: pytest.MonkeyPatch, word: str, code: int, left: int
) -> None:
    schedule("report", "@daily")
    monkeypatch.setattr(asking, "_at_a_terminal", lambda: True)

    asked = run("schedules", "rm", "report", code=code, stdin=f"{word}\n")

    assert "Remove schedule 'report' of queue 'default' (@daily)? [y/N]" in asked.stderr
    assert len(found(run("schedules", "ls", "--json"))) == left


async def test_who_removes_the_schedule_of_a_handler_is_told_that_it_comes_back(
    make: Make, run: Run
) -> None:
    tm = make()
    tm.registerHandler(lambda job, ctx: None, event="report", repeat={"pattern": "@yearly"})
    await tm.start()
    await aeventually(tm.schedules)

    removed = await asyncio.to_thread(run, "schedules", "rm", "report", "--yes")

    assert "to stop it, pause it" in removed.stderr


@pytest.mark.parametrize("command", ["next", "run", "pause", "resume", "rm"])
def test_a_schedule_that_is_not_there_exits_1_and_names_the_queue(run: Run, command: str) -> None:
    more = ["--yes"] if command == "rm" else []

    result = run("schedules", command, "report", "-q", "mail", *more, code=1)

    assert result.stdout == ""
    assert "there is no schedule 'report' in queue 'mail'" in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [("ls", "-q", "not a name"), ("next", "report", "-q", "not a name"), ("run", "not a name")],
)
def test_a_name_of_a_schedule_that_is_not_allowed_exits_2(
    run: Run, arguments: tuple[str, ...]
) -> None:
    assert "is not allowed" in run("schedules", *arguments, code=2).stderr


# --- jobs cancel -------------------------------------------------------------------------


@pytest.mark.parametrize("more", [(), ("--delay", "1h"), ("--debounce", "1h")])
def test_a_job_that_waits_is_cancelled_once(run: Run, more: tuple[str, ...]) -> None:
    job_id = run("emit", "send", "-q", "mail", *more).stdout.strip()

    first = run("jobs", "cancel", job_id, "-q", "mail")
    second = run("jobs", "cancel", job_id, "-q", "mail", code=1)

    assert (first.stdout, first.stderr) == ("cancelled\n", "")
    assert second.stdout == "too_late\n"
    assert "has ended or does not exist" in second.stderr
    assert found(run("jobs", "show", job_id, "-q", "mail", "--json"))["state"] == "cancelled"


async def test_a_job_that_runs_is_requested_to_end(make: Make, run: Run) -> None:
    tm = make()
    started = asyncio.Event()

    async def work(job: Job[Any]) -> None:
        started.set()
        await asyncio.sleep(3600)

    tm.registerHandler(work, event="work")
    await tm.start()
    handle = await tm.emit("work", id="7")
    await asyncio.wait_for(started.wait(), PATIENCE)

    result = await asyncio.to_thread(run, "jobs", "cancel", "7", "--json")

    assert found(result) == {"id": "7", "queue": "default", "outcome": "requested"}
    await aeventually(lambda: _has_status(handle, "cancelled"))


async def _has_status(handle: Any, state: str) -> bool:
    return bool(await handle.status() == state)


def test_cancelling_an_unknown_job_is_too_late_in_json_as_well(run: Run) -> None:
    result = run("jobs", "cancel", "7", "--json", code=1)

    assert found(result) == {"id": "7", "queue": "default", "outcome": "too_late"}


# --- queues pause, resume ----------------------------------------------------------------


def test_what_is_paused_is_shown(run: Run) -> None:
    for queue in ("all", "mail", "other"):
        run("emit", "send", "-q", queue)

    run("queues", "pause", "all")
    said = run("queues", "pause", "mail", "--event", "send").stdout
    run("queues", "pause", "mail", "--event", "news")

    header, *lines = run("queues", "ls").stdout.splitlines()
    shown = run("queues", "show", "mail").stdout
    listed = found(run("queues", "ls", "--json"))
    assert said == "event 'send' of queue 'mail' is paused\n"
    assert header.endswith("  paused")
    assert re.search(r"^all .* all$", lines[0])
    assert re.search(r"^mail .* news, send$", lines[1])
    assert re.search(r"^other .* -$", lines[2])
    assert re.search(r"^paused events +news, send$", shown, re.MULTILINE)
    assert re.search(r"^paused +all$", run("queues", "show", "all").stdout, re.MULTILINE)
    assert [(it["paused"], it["paused_events"]) for it in listed] == [
        (True, []),
        (False, ["news", "send"]),
        (False, []),
    ]


def test_a_resume_says_what_is_still_paused(run: Run) -> None:
    run("emit", "send")
    for more in ([], ["--event", "send"]):
        run("queues", "pause", "default", *more)

    queue = run("queues", "resume", "default")
    run("queues", "pause", "default")
    event = run("queues", "resume", "default", "--event", "send")
    last = run("queues", "resume", "default")

    assert queue.stdout == "queue 'default' is resumed\n"
    assert "event 'send' is still paused" in queue.stderr
    assert event.stdout == "event 'send' of queue 'default' is resumed\n"
    assert "the whole queue 'default' is still paused" in event.stderr
    assert last.stderr == ""


def test_a_queue_that_is_not_there_is_paused_and_said_to_be_new(run: Run) -> None:
    result = run("queues", "pause", "mial")

    assert result.stdout == "queue 'mial' is paused\n"
    assert "queue 'mial' does not exist yet" in result.stderr


async def test_nothing_starts_once_a_pause_that_waits_has_returned(make: Make, run: Run) -> None:
    tm = make()
    ran: list[Any] = []
    tm.registerHandler(lambda job, ctx: ran.append(job.data), event="work")
    await tm.start()
    await (await tm.emit("work", data="before")).result(timeout=PATIENCE)

    await asyncio.to_thread(run, "queues", "pause", "default", "--wait")
    handles = await tm.emit_many([{"event": "work", "data": it} for it in range(20)])
    stats = await tm.stats()
    before = list(ran)
    await asyncio.to_thread(run, "queues", "resume", "default")
    for handle in handles:
        await handle.result(timeout=PATIENCE)

    assert (stats.waiting, stats.active, stats.paused) == (20, 0, True)
    assert before == ["before"]
    assert sorted(ran[1:]) == list(range(20))


async def test_a_pause_that_waits_waits_for_every_worker_of_the_queue(
    run: Run, redis: redis_py.Redis
) -> None:
    await asyncio.to_thread(run, "emit", "work")
    obey = a_worker_that_obeys_nothing(redis)

    pausing = asyncio.create_task(asyncio.to_thread(run, "queues", "pause", "default", "--wait"))
    await aeventually(lambda: looks_for_workers(redis) > 5)
    has_returned = pausing.done()
    obey()

    assert not has_returned
    assert (await asyncio.wait_for(pausing, PATIENCE)).stdout == "queue 'default' is paused\n"


def a_worker_that_obeys_nothing(redis: redis_py.Redis) -> Callable[[], object]:
    """List a worker of the default queue; return what makes it obey the first pause."""
    fleet = Fleet()
    seconds, _ = redis.time()  # type: ignore[misc]
    redis.zadd(fleet.workers, {"stopped": int(seconds) * 1000})
    redis.hset(fleet.worker("stopped"), mapping={"queues": '["default"]', "pauses": "{}"})
    redis.expire(fleet.worker("stopped"), 60)
    return lambda: redis.hset(fleet.worker("stopped"), "pauses", '{"default": 1}')


def looks_for_workers(redis: redis_py.Redis) -> int:
    stats: Any = redis.info("commandstats")
    return int(stats.get("cmdstat_zrangebyscore", {"calls": 0})["calls"])


@pytest.mark.parametrize(
    "arguments",
    [
        ("queues", "pause", "not a name"),
        ("queues", "resume", "default", "--event", "not a name"),
        ("jobs", "cancel", "two words"),
    ],
)
def test_a_name_that_is_not_allowed_exits_2(run: Run, arguments: tuple[str, ...]) -> None:
    assert "is not allowed" in run(*arguments, code=2).stderr


# --- emit: storms and keys ---------------------------------------------------------------


def test_a_storm_of_emits_is_one_job_with_the_last_data(run: Run) -> None:
    storm = ("emit", "index", "--debounce", "1h", "--debounce-key", "7", "--data")

    first = run(*storm, "1")
    last = run(*storm, "2")

    assert first.stdout == last.stdout
    assert first.stderr == ""
    assert "the emit was debounced" in last.stderr
    job = found(run("jobs", "show", first.stdout.strip(), "--json"))
    assert (job["state"], job["data"]) == ("debounced", 2)


@pytest.mark.parametrize(
    ("given", "seconds"),
    [(("600",), 600), (("1500ms",), 1.5), (("2h", "--debounce-max-wait", "3h"), 7200)],
)
def test_a_window_is_in_seconds_or_has_a_unit(
    run: Run, given: tuple[str, ...], seconds: float
) -> None:
    job_id = run("emit", "index", "--debounce", *given).stdout.strip()

    job = found(run("jobs", "show", job_id, "--json"))
    due, created = (datetime.fromisoformat(job[it]) for it in ("due_at", "created_at"))
    assert timedelta(0) <= due - created - timedelta(seconds=seconds) < timedelta(seconds=0.1)


def test_the_first_of_a_leading_storm_waits_for_nothing(run: Run) -> None:
    storm = ("emit", "index", "--debounce", "1h", "--debounce-mode", "leading")

    first = run(*storm).stdout
    second = run(*storm, "--json")

    assert found(run("jobs", "show", first.strip(), "--json"))["state"] == "waiting"
    assert (found(second)["id"], found(second)["created"]) == (first.strip(), False)


def test_an_idempotency_key_stands_for_one_job(run: Run) -> None:
    charge = ("emit", "charge", "--idempotency-key", "order 7", "--data")

    first = run(*charge, "1")
    second = run(*charge, "2")

    assert first.stdout == second.stdout
    assert "a job with this idempotency key" in second.stderr
    assert found(run("jobs", "show", first.stdout.strip(), "--json"))["data"] == 1


def test_equal_jobs_are_one_unless_they_are_not_to_be_deduplicated(run: Run) -> None:
    first, equal = run("emit", "send"), run("emit", "send")
    other = run("emit", "send", "--no-deduplicate")

    assert first.stdout == equal.stdout != other.stdout
    assert "--no-deduplicate adds another one" in equal.stderr
    assert other.stderr == ""


@pytest.mark.parametrize(
    "arguments",
    [
        ("--debounce-key", "7"),
        ("--debounce", "1", "--delay", "1"),
        ("--debounce", "2m", "--debounce-max-wait", "1m"),
        ("--debounce", "soon"),
        ("--debounce", "1", "--debounce-mode", "middle"),
        ("--idempotency-key", ""),
    ],
)
def test_options_that_make_no_sense_exit_2(run: Run, arguments: tuple[str, ...]) -> None:
    assert run("emit", "index", *arguments, code=2).stdout == ""
