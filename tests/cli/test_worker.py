from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import redis as redis_py
from click.testing import CliRunner

from taskmanager import TaskManager
from taskmanager.cli import cli
from taskmanager.cli.commands.worker import _own_command
from taskmanager.cli.supervisor import GIVE_UP_AFTER, Start, Supervisor
from tests.support.engine import QueueView
from tests.support.processes import Child, Spawner
from tests.support.servers import RedisServer
from tests.support.waiting import PATIENCE, aeventually, eventually

APP = """
import asyncio, contextlib, os, time
from taskmanager import TaskManager

@contextlib.asynccontextmanager
async def lifespan():
    async def beat():
        while True:
            print("beat")
            await asyncio.sleep(0.02)
    beating = asyncio.create_task(beat())
    yield {}
    beating.cancel()

tm = TaskManager(lifespan=lifespan)
empty = TaskManager()
including = TaskManager(include=["more_jobs"])
missing = TaskManager(include=["no_jobs"])

@tm.registerHandler(event="say")
async def say(job):
    print(f"said {job.data['text']} by {os.getpid()}\\n", end="")

@tm.registerHandler(event="wait")
async def wait(job):
    # In one piece: several processes write here.
    print(f"waiting in {os.getpid()} delivery {job.delivery} attempt {job.attempt}\\n", end="")
    try:
        await asyncio.sleep(job.data["seconds"])
    except asyncio.CancelledError:
        print("cancelled")
        raise
    print("waited\\n", end="")

@tm.registerHandler(event="hang")
def hang(job):
    while True:
        print("hanging")
        time.sleep(0.001)

@tm.registerHandler(event="hang-elsewhere")
async def hang_elsewhere(job):
    print("hanging")
    await asyncio.to_thread(time.sleep, 1000)

@tm.registerHandler(event="die")
async def die(job):
    os.kill(os.getpid(), 9)

able = TaskManager()

@able.registerHandler(event="render", requires=["gpu", "av1"])
async def render(job):
    print("rendered by", job.worker)

@tm.registerHandler(event="note", queue="notes")
async def note(job):
    print("noted")
"""

MORE_JOBS = """
from app import including

@including.registerHandler(event="say")
async def say(job):
    print("an included handler said", job.data["text"])
"""

Run = Callable[..., Child]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "app.py").write_text(APP)
    (tmp_path / "more_jobs.py").write_text(MORE_JOBS)
    return tmp_path


@pytest.fixture
def run(spawn: Spawner, server: RedisServer, folder: Path) -> Run:
    """Start the command line in the folder of the app, on the test's server."""

    def run(*arguments: str) -> Child:
        return spawn("--url", server.url, *arguments, cwd=folder)

    return run


@pytest.fixture
def emit(run: Run) -> Callable[..., str]:
    """Emit through the command line and return what it printed."""

    def emit(*arguments: str) -> str:
        child = run("emit", *arguments)
        assert child.wait() == 0, child.text
        return child.text

    return emit


Emit = Callable[..., str]


# --- One worker --------------------------------------------------------------------------


def test_a_worker_runs_what_the_command_line_emits_and_ends_with_0(run: Run, emit: Emit) -> None:
    worker = run("worker", "app:tm")

    emit("say", "--data", '{"text": "hello"}')

    worker.wait_for_line("said hello")
    worker.terminate()
    assert worker.wait() == 0


def test_a_worker_says_at_its_start_what_it_is(
    spawn: Spawner, server: RedisServer, folder: Path, redis: redis_py.Redis
) -> None:
    redis.acl_setuser(
        "ann", enabled=True, passwords=["+s3cret"], keys="*", channels="*", commands=["+@all"]
    )
    url = server.url.replace("//", "//ann:s3cret@")

    worker = spawn("--url", url, "worker", "app:tm", cwd=folder)

    worker.wait_for_line(r"^taskmanager \S+")
    worker.wait_for_line(rf"redis +redis://ann:\*+@127.0.0.1:{server.port}/0")
    worker.wait_for_line(r"queues +default, notes$")
    worker.wait_for_line(r"handlers +6: default/die, .*, notes/note")
    worker.wait_for_line(r"concurrency +1 job at a time per process, in exact order \(the default")
    worker.wait_for_line(r"processes +1$")
    worker.wait_for_line("started")
    worker.terminate()
    assert worker.wait() == 0
    assert "s3cret" not in worker.text


def test_a_burst_does_all_there_is_and_ends_with_0(run: Run, emit: Emit) -> None:
    for text in ("one", "two", "three"):
        emit("say", "--data", json.dumps({"text": text}))

    worker = run("worker", "app:tm", "--burst", "-c", "2")

    assert worker.wait() == 0
    assert sorted(re.findall(r"said (\w+)", worker.text)) == ["one", "three", "two"]


def test_the_app_may_stand_before_the_command_and_the_namespace_keeps_apart(
    run: Run, emit: Emit
) -> None:
    emit("say", "--data", '{"text": "here"}')
    other = run("--namespace", "other", "--app", "app:tm", "worker", "--burst")
    assert other.wait() == 0

    same = run("--app", "app:tm", "worker", "--burst")

    assert same.wait() == 0
    assert "said" not in other.text
    assert "said here" in same.text


def test_a_worker_of_one_queue_leaves_the_others_alone(run: Run, emit: Emit) -> None:
    emit("say", "--data", '{"text": "hello"}')
    emit("note", "-q", "notes")

    worker = run("worker", "app:tm", "--burst", "-q", "notes")

    assert worker.wait() == 0
    assert "noted" in worker.text
    assert "said" not in worker.text


def test_the_json_log_is_one_object_a_line(run: Run) -> None:
    worker = run("worker", "app:tm", "--log-format", "json", "-v", "--burst")

    assert worker.wait() == 0
    lines = [line for line in worker.text.splitlines() if line.startswith("{")]
    assert lines
    assert all({"at", "level", "logger", "message"} <= json.loads(line).keys() for line in lines)


# --- What it refuses ---------------------------------------------------------------------


def test_an_unreachable_redis_ends_a_worker_with_3_and_one_line(
    spawn: Spawner, folder: Path
) -> None:
    worker = spawn(
        "worker", "app:tm", "--url", "redis://ann:s3cret@127.0.0.1:1/0",
        "--connect-timeout", "300ms", cwd=folder,
    )  # fmt: skip

    assert worker.wait() == 3
    errors = [line for line in worker.text.splitlines() if line.startswith("Error: ")]
    assert len(errors) == 1
    assert "redis://ann:***@127.0.0.1:1/0" in errors[0]
    assert "s3cret" not in worker.text
    assert "nothing was stored" not in worker.text
    assert "Traceback" not in worker.text


def test_an_included_module_registers_its_handlers(run: Run) -> None:
    assert run("emit", "say", "--data", '{"text": "hello"}').wait() == 0
    worker = run("worker", "app:including", "--burst")

    assert worker.wait() == 0
    assert "an included handler said hello" in worker.text
    assert "1: default/say" in worker.text


def test_an_included_module_that_is_missing_is_named(run: Run) -> None:
    worker = run("worker", "app:missing")

    assert worker.wait() == 2
    assert "there is no module 'no_jobs'" in worker.text
    assert "Traceback" not in worker.text


def test_a_worker_without_handlers_ends_with_2_and_says_what_it_imported(run: Run) -> None:
    worker = run("worker", "app:empty")

    assert worker.wait() == 2
    assert "app:empty has no handlers" in worker.text
    assert "Imported modules: app" in worker.text


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("no_such_app:tm",), "there is no module 'no_such_app'"),
        (("app:no_such_tm",), "Its TaskManagers: able, empty, including, missing, tm"),
        (("app:tm", "-q", "elsewhere"), "it has no handler; queues with handlers: default, notes"),
        (("app:tm", "-c", "0"), "concurrency 0 is not allowed"),
        (("app:tm", "--name", "a b"), "name 'a b' is not allowed"),
        (("app:tm", "--type", "any"), "type 'any' is not allowed"),
        (("app:tm", "--capability", "gpu,a b"), "capability 'a b' is not allowed"),
        (("app:tm", "--level", "5,high"), "levels 'high' is not allowed: give a whole number"),
        (("app:tm", "--level", "-101"), "is not allowed: give priorities from -100 to 100"),
        (("app:tm", "--prefetch", "-1"), "prefetch -1 is not allowed"),
        (("app:able",), "default/render lacks av1, gpu. Its capabilities: none."),
        (("app:able", "-p", "2", "--capability", "gpu"), "default/render lacks av1."),
        (("no_such_app:tm", "-p", "2"), "there is no module 'no_such_app'"),
        (("app:tm", "-p", "2", "--reload"), "--reload works with one process only"),
        (("app:tm", "--burst", "--reload"), "remove --burst"),
        (("app:tm", "--watch", "."), "--watch works only with --reload"),
    ],
)
def test_wrong_usage_of_a_worker_ends_with_2(
    run: Run, arguments: tuple[str, ...], said: str
) -> None:
    worker = run("worker", *arguments)

    assert worker.wait() == 2
    assert said in worker.text
    assert "Traceback" not in worker.text


def terminate(child: Child, times: int) -> None:
    """Send SIGTERM again and again; two in one turn of the event loop would count as one."""
    for number in range(times):
        if number > 0:
            # The first of them may have begun before the signal before.
            beats = child.text.count("beat") + 3
            eventually(lambda n=beats: child.text.count("beat") >= n)
        child.terminate()


# --- Signals -----------------------------------------------------------------------------


def test_the_first_signal_lets_the_running_job_finish(run: Run, emit: Emit) -> None:
    worker = run("worker", "app:tm")
    emit("wait", "--data", '{"seconds": 1}')
    worker.wait_for_line("waiting")

    worker.interrupt()

    worker.wait_for_line(
        "stopping: waiting up to 25 s for 1 running job; a second Ctrl-C or SIGTERM cancels it"
    )
    assert worker.wait() == 0
    assert "waited" in worker.text
    assert "cancelled" not in worker.text


def test_the_second_signal_cancels_and_the_job_runs_elsewhere_at_once(
    run: Run, emit: Emit, redis: redis_py.Redis
) -> None:
    worker = run("worker", "app:tm")
    emit("wait", "--data", '{"seconds": 3600}')
    worker.wait_for_line("waiting")

    terminate(worker, times=2)

    assert worker.wait() == 0
    assert "cancelled" in worker.text
    # It was handed back: nobody has to wait for its lease to run out.
    assert QueueView(redis).stats("released") == 1
    other = run("worker", "app:tm", "--burst")
    other.wait_for_line(r"waiting in \d+ delivery 2 attempt 1")


def test_the_third_signal_ends_the_worker_with_4(run: Run, emit: Emit) -> None:
    worker = run("worker", "app:tm")
    emit("hang")
    worker.wait_for_line("hanging")

    terminate(worker, times=3)

    assert worker.wait() == 4


def test_a_signal_while_redis_is_awaited_ends_the_worker_with_0(
    spawn: Spawner, folder: Path
) -> None:
    worker = spawn("--url", "redis://127.0.0.1:1/0", "worker", "app:tm", cwd=folder)
    worker.wait_for_line("beat")

    worker.terminate()

    assert worker.wait() == 0


@pytest.mark.parametrize("event", ["hang", "hang-elsewhere"])
def test_a_thread_that_never_ends_does_not_keep_the_worker(
    run: Run, emit: Emit, event: str
) -> None:
    worker = run("worker", "app:tm")
    emit(event)
    worker.wait_for_line("hanging")

    terminate(worker, times=2)

    assert worker.wait() == 0


# --- Several processes -------------------------------------------------------------------


def workers_of(child: Child) -> list[int]:
    """The worker processes below a supervisor."""
    listed = Path(f"/proc/{child.pid}/task/{child.pid}/children").read_text()
    return [int(pid) for pid in listed.split()]


def alive(pid: int) -> bool:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, 0)
        # A process that nobody has waited for yet is not alive.
        return " Z " not in Path(f"/proc/{pid}/stat").read_text()
    return False


def test_several_processes_share_the_jobs_and_end_together(run: Run, server: RedisServer) -> None:
    worker = run("worker", "app:tm", "-p", "2", "-c", "1")
    eventually(lambda: worker.text.count(" started") == 2)
    # At one moment: neither ends before the other process has begun its own.
    jobs = [{"event": "wait", "id": id, "data": {"seconds": 3}} for id in ("job-1", "job-2")]
    TaskManager(server.url).sync.emit_many(jobs)

    pids = {worker.wait_for_line(r"waiting in (\d+)")[1] for _ in range(2)}

    assert pids == set(map(str, workers_of(worker)))
    worker.interrupt()
    assert worker.wait() == 0
    # Not the field of the log.
    assert len(re.findall("waited(?!=)", worker.text)) == 2
    assert worker.text.count("processes   2") == 1


def test_several_processes_have_the_capabilities_of_the_command_line_and_names_of_their_own(
    run: Run, emit: Emit
) -> None:
    kind = ("--capability", "gpu", "--capability", "av1,cuda", "--type", "encoder")
    kind = (*kind, "--level", "5,-1", "--region", "eu", "--prefetch", "0", "--name", "enc")
    worker = run("worker", "app:able", "-p", "2", *kind)
    worker.wait_for_line(r"type +encoder$")
    worker.wait_for_line(r"capabilities +av1, cuda, gpu$")
    worker.wait_for_line(r"levels +5, -1$")
    worker.wait_for_line(r"region +eu$")
    worker.wait_for_line(r"prefetch +0$")

    wanted = ("--type", "encoder", "--requires", "gpu,av1", "--region", "eu", "--priority", "-1")
    emit("render", *wanted, "--only", "enc-1,enc-2", "--anti-affinity", "enc-1")

    worker.wait_for_line("rendered by enc-2$")
    worker.terminate()
    assert worker.wait() == 0


def test_a_killed_worker_process_is_replaced(run: Run, emit: Emit) -> None:
    worker = run("worker", "app:tm", "-p", "2")
    eventually(lambda: worker.text.count(" started") == 2)
    first, second = workers_of(worker)

    os.kill(first, signal.SIGKILL)

    worker.wait_for_line("ended with signal SIGKILL; restarting it")
    eventually(lambda: worker.text.count(" started") == 3)
    assert second in workers_of(worker)
    worker.terminate()
    assert worker.wait() == 0


async def test_jobs_that_kill_their_workers_do_not_end_the_supervisor(
    server: RedisServer,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    arguments = ["--url", server.url, "worker", "app:tm", "-p", "2"]
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    monkeypatch.setattr(sys, "orig_argv", ["python", "-m", "taskmanager", *arguments])
    starts: list[Start] = []

    def command(start: Start) -> list[str]:
        starts.append(start)
        return _own_command(start)

    # Enough that each of the two dies more often than a start may fail.
    async with TaskManager(server.url) as tm:
        await tm.emit_many([{"event": "die", "data": n} for n in range(2 * GIVE_UP_AFTER + 2)])
    supervisor = Supervisor(command, processes=2, first_pause=0.01)
    running = asyncio.create_task(supervisor.run())
    await aeventually(lambda: len(starts) > 2 * GIVE_UP_AFTER + 2 or running.done(), within=120)

    assert not running.done()
    supervisor.stop()
    # 1 when a job killed its worker while that was to stop: some are left that may.
    assert await asyncio.wait_for(running, PATIENCE) in {0, 1}
    assert capfd.readouterr().err.count("processes   2") == 1


def test_several_processes_of_an_app_with_a_private_server_are_refused(
    spawn: Spawner, folder: Path
) -> None:
    worker = spawn("--url", "embedded://", "worker", "app:tm", "-p", "2", cwd=folder)

    assert worker.wait() == 2
    assert "embedded:// server serves one process only" in worker.text
    assert "started" not in worker.text


def test_several_processes_do_a_burst_and_end(run: Run, emit: Emit) -> None:
    for number in range(5):
        emit("say", "--data", json.dumps({"text": str(number)}))

    worker = run("worker", "app:tm", "-p", "2", "--burst")

    assert worker.wait() == 0
    assert sorted(re.findall(r"said (\d)", worker.text)) == ["0", "1", "2", "3", "4"]


def test_the_third_signal_ends_all_processes_with_4(run: Run, emit: Emit) -> None:
    worker = run("worker", "app:tm", "-p", "2")
    emit("hang")
    worker.wait_for_line("hanging")
    pids = workers_of(worker)

    # As often as it takes: on their way through the supervisor two may become one.
    eventually(lambda: worker.terminate() or not worker.running)

    assert worker.wait() == 4
    assert not any(map(alive, pids))


def test_workers_end_when_their_supervisor_was_killed(run: Run) -> None:
    worker = run("worker", "app:tm", "-p", "2")
    eventually(lambda: worker.text.count(" started") == 2)
    pids = workers_of(worker)

    worker.kill()

    eventually(lambda: not any(map(alive, pids)))


def test_a_worker_that_imports_its_app_ends_with_0_at_a_sigterm(run: Run, folder: Path) -> None:
    (folder / "slow.py").write_text("import time; print('importing'); time.sleep(1000)")
    worker = run("worker", "slow:tm")
    worker.wait_for_line("importing", within=30.0)

    worker.terminate()

    # By its own doing: process 1 of a container would not be ended by the signal itself.
    assert worker.wait(30.0) == 0


def test_workers_that_import_their_app_end_when_their_supervisor_was_killed(
    run: Run, folder: Path
) -> None:
    (folder / "slow.py").write_text("import time; print('importing'); time.sleep(1000)")
    worker = run("worker", "slow:tm", "-p", "2")
    eventually(lambda: worker.text.count("importing") == 2, within=30)
    pids = workers_of(worker)

    worker.kill()

    eventually(lambda: not any(map(alive, pids)), within=20)


def test_a_worker_whose_supervisor_was_gone_before_it_began_ends(run: Run) -> None:
    # No process has this id: it is above what Linux gives.
    worker = run("worker", "app:tm", "--index", "1", "--parent", str(2**22 + 1))

    assert worker.wait(30.0) == 0


# --- emit --------------------------------------------------------------------------------


def test_emit_prints_the_id_alone(emit: Emit) -> None:
    assert emit("say", "--id", "job-7") == "job-7\n"


def test_emit_as_json_tells_whether_the_job_is_new(emit: Emit) -> None:
    first = json.loads(emit("say", "--id", "job-7", "-q", "mail", "--json"))
    second = json.loads(emit("say", "--id", "job-7", "-q", "mail", "--json"))

    assert first == {"id": "job-7", "queue": "mail", "created": True}
    assert second == {"id": "job-7", "queue": "mail", "created": False}


def test_emit_keeps_priority_and_partition(emit: Emit, redis: redis_py.Redis) -> None:
    emit("say", "--priority", "7", "--partition", "acme")

    assert redis.zrange("tm:{default}:lanes", 0, -1) == [b"workers:acme:7"]


def test_emit_reads_the_payload_from_stdin(server: RedisServer, redis: redis_py.Redis) -> None:
    ended = CliRunner().invoke(
        cli, ["--url", server.url, "emit", "say", "--data", "-"], input='{"text": "piped"}\n'
    )

    assert ended.exit_code == 0, ended.output
    ((_, fields),) = redis.xrange("tm:{default}:lane:workers:default:0")
    assert b'{"text":"piped"}' in fields.values()


def test_emit_with_an_app_asks_the_handlers_that_can_be_imported(
    server: RedisServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "shop.py").write_text(
        "from taskmanager import TaskManager\ntm = TaskManager(include=['shop_ml', 'shop_jobs'])"
    )
    (tmp_path / "shop_ml.py").write_text("import no_such_library")
    (tmp_path / "shop_jobs.py").write_text(
        "from shop import tm\nfrom taskmanager import Job\n"
        "@tm.registerHandler(event='order')\nasync def order(job: Job[int]): ..."
    )
    emit = ("--url", server.url, "emit", "--app", "shop:tm")

    wrong = CliRunner().invoke(cli, [*emit, "order", "--data", '"seven"'])
    misspelt = CliRunner().invoke(cli, [*emit, "oder", "--data", "7"])

    assert wrong.exit_code == 2
    assert "Input should be a valid integer" in wrong.stderr
    assert misspelt.exit_code == 0
    assert "so data for their events is not checked: cannot import 'shop_ml'" in misspelt.stderr
    # The module that is not there may have its handler.
    assert caplog.text == ""
    (tmp_path / "shop_ml.py").write_text("")
    assert CliRunner().invoke(cli, [*emit, "oder", "--data", "7"]).stderr.count("imported") == 0
    assert "is registered in this process (did you mean 'order'?)" in caplog.text
