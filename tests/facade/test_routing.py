"""Which worker gets a job: emits, handlers and workers through the public API, on a real Redis."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import redis as redis_py
from pydantic_core import from_json

from consumers.jobs.routes import Route
from consumers.store.keys import Keys
from taskmanager import InvalidInput, MissingCapabilities, TaskManager
from tests.support.facade import run_all
from tests.support.waiting import aeventually

Make = Callable[..., TaskManager]
GPU = Route("workers", "render", requires=("gpu",))
STORED = {"event": "render", "requires": ["gpu"]}


def lanes(redis: redis_py.Redis, queue: str = "default") -> list[str]:
    """Return the names of the lanes of a queue, sorted."""
    found: Any = redis.zrange(Keys(queue).lanes, 0, -1)
    return sorted(name.decode() for name in found)


def options_in(redis: redis_py.Redis, lane: str, queue: str = "default") -> list[dict[str, Any]]:
    """Return the stored options of the jobs in a lane, oldest first."""
    entries: Any = redis.xrange(f"{Keys(queue).base}lane:{lane}")
    return [from_json(it[b"options"]) if it[b"options"] else {} for _, it in entries]


async def test_a_job_lies_in_the_lane_of_its_route_with_its_definition(
    tm: TaskManager, redis: redis_py.Redis
) -> None:
    await tm.emit("render", requires=["gpu"], priority=3, partition="acme", timeout=5)

    lane = f"{GPU.name}:acme:3"
    assert lanes(redis) == [lane]
    assert options_in(redis, lane) == [{"route": STORED, "timeout": 5.0}]


async def test_a_job_that_names_a_type_alone_lies_in_the_lane_of_the_type(
    tm: TaskManager, redis: redis_py.Redis
) -> None:
    await tm.emit("render", type="encoder")

    assert lanes(redis) == ["encoder:default:0"]
    assert options_in(redis, "encoder:default:0") == [{}]


async def test_every_way_to_emit_takes_requirements(tm: TaskManager, redis: redis_py.Redis) -> None:
    given: Any = {"requires": ["gpu"], "deduplicate": False}
    await tm.emit("render", **given)
    await tm.emit({"event": "render", **given})
    await tm.emit("render", options={"requires": ("gpu",)}, deduplicate=False)
    await tm.emit_many([{"event": "render", **given}, {"event": "render", "options": given}])
    await asyncio.to_thread(lambda: tm.emit_sync("render", **given))
    await asyncio.to_thread(lambda: tm.sync.emit("render", **given))
    await asyncio.to_thread(lambda: tm.sync.emit_many([{"event": "render", **given}]))
    await tm.get_context().emit("render", **given)

    assert lanes(redis) == [f"{GPU.name}:default:0"]
    assert options_in(redis, f"{GPU.name}:default:0") == [{"route": STORED}] * 9


async def test_a_handler_emits_jobs_with_requirements(make: Make, redis: redis_py.Redis) -> None:
    tm = make()

    @tm.registerHandler(event="parent")
    async def parent(job: Any, ctx: Any) -> None:
        await ctx.emit("render", data=1, requires=["gpu"])
        await ctx.emit("render", data=2, requires=["gpu"], on_success=True)
        await ctx.emit("render", queue="media", requires=["gpu"], on_success=True)

    await tm.emit("parent")
    await run_all(tm)

    lane = f"{GPU.name}:default:0"
    assert options_in(redis, lane) == [{"route": STORED}] * 2
    await aeventually(lambda: options_in(redis, lane, "media") == [{"route": STORED}])


async def test_a_schedule_emits_jobs_with_requirements(
    tm: TaskManager, redis: redis_py.Redis
) -> None:
    await tm.emit("render", repeat="@yearly", requires=["gpu"])

    await tm.schedule("render").run()

    assert options_in(redis, f"{GPU.name}:default:0") == [{"route": STORED}]


async def test_a_routed_job_is_known_like_any_other_and_its_id_is_the_plain_one(
    tm: TaskManager,
) -> None:
    plain = await tm.emit("render", data=1, queue="plain")
    handle = await tm.emit("render", data=1, requires=["gpu"], partition="default", priority=3)

    info = await handle.info()

    assert handle.id == plain.id
    assert info is not None
    assert (info.state, info.partition, info.priority) == ("waiting", "default", 3)
    assert info.options == {"route": STORED}
    assert await handle.cancel() == "cancelled"


async def test_an_equal_job_with_other_requirements_adds_nothing_and_is_reported(
    tm: TaskManager, caplog: pytest.LogCaptureFixture
) -> None:
    await tm.emit("render", data=1)

    again = await tm.emit("render", data=1, requires=["gpu"])

    assert not again.created
    await aeventually(lambda: "requirements none instead of requires=gpu" in caplog.text)


def rendering(make: Make, **options: Any) -> tuple[TaskManager, list[str]]:
    """Return a task manager with a handler that requires a gpu and a plain one, and what ran."""
    tm, ran = make(**options), list[str]()

    async def run(job: Any) -> None:
        ran.append(f"{job.event} {job.options}")

    tm.registerHandler(run, {"event": "render", "requires": ["gpu"]})
    tm.registerHandler(run, {"event": "plain"})
    return tm, ran


async def test_a_worker_with_the_capability_runs_the_job(make: Make) -> None:
    tm, ran = rendering(make, capabilities=["gpu", "av1"])
    await tm.emit("render")

    await run_all(tm)

    # What its worker had to match is none of its own options.
    assert ran == ["render {}"]


async def test_a_worker_without_the_capability_leaves_the_job_and_the_event_out(
    make: Make, redis: redis_py.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "taskmanager.worker")
    tm, ran = rendering(make, capabilities="av1")
    await tm.emit("render", data=1)
    # Emitted where nothing is known about the handler.
    await make().emit("render", data=2)
    await tm.emit("plain")

    await run_all(tm)
    await aeventually(lambda: ran == ["plain {}"] and len(lanes(redis)) == 3)

    assert tm.left_out == {("default", "render"): ["gpu"]}
    assert "event 'render' in queue 'default' is left out: this worker lacks gpu" in caplog.text
    assert "this worker does not run event 'render' in queue 'default', because it lacks gpu" in (
        caplog.text
    )
    able, done = rendering(make, capabilities=["gpu"])
    await able.start()
    await aeventually(lambda: len(done) == 2)


async def test_a_worker_whose_handlers_are_all_left_out_does_not_start(make: Make) -> None:
    tm = make(capabilities=["av1"])
    tm.registerHandler(lambda job: None, {"event": "render", "requires": ["gpu", "av1"]})
    tm.registerHandler(lambda job: None, {"event": "cut", "queue": "q", "requires": ["cut"]})

    with pytest.raises(MissingCapabilities) as caught:
        await tm.start()

    assert str(caught.value) == (
        "this worker lacks a capability for each of its handlers, so there is nothing to run: "
        "default/render lacks gpu; q/cut lacks cut. Its capabilities: av1. Where it has them, "
        "start it with --capability cut,gpu, or set capabilities="
    )
    assert caught.value.lacking == {("default", "render"): ["gpu"], ("q", "cut"): ["cut"]}
    tm.configure(capabilities=["cut"], queues=["default"])
    with pytest.raises(MissingCapabilities, match="default/render lacks av1, gpu"):
        await tm.start()


async def test_capabilities_change_while_a_worker_runs(make: Make, redis: redis_py.Redis) -> None:
    tm, ran = rendering(make)
    await tm.start()
    await tm.emit("render", data=1)

    tm.set_capabilities(["gpu"])

    assert (tm.settings.capabilities, tm.left_out) == (("gpu",), {})
    await aeventually(lambda: len(ran) == 1)
    # In a thread, where a handler may notice that something is missing.
    await asyncio.to_thread(tm.set_capabilities, [])
    await tm.emit("render", data=2)
    await tm.emit("plain")
    await aeventually(lambda: len(ran) == 2)
    assert ran[1] == "plain {}"

    def waiting() -> list[dict[str, Any]]:
        # A read that was under way may have brought it here: then it went back to the front.
        lane = f"{GPU.name}:default:0"
        return [it for name in (lane, f"{lane}:front") for it in options_in(redis, name)]

    await aeventually(lambda: waiting() == [{"route": STORED}])


async def test_capabilities_that_are_set_without_a_worker_count_for_the_next(make: Make) -> None:
    tm, ran = rendering(make)
    tm.set_capabilities(["gpu"])
    await tm.emit("render")

    await run_all(tm)

    assert len(ran) == 1


async def test_a_lifespan_may_find_out_what_its_worker_can_do(make: Make) -> None:
    found: list[TaskManager] = []

    @contextlib.asynccontextmanager
    async def lifespan() -> AsyncIterator[dict[str, Any]]:
        found[0].set_capabilities(["gpu"])
        yield {}

    tm, ran = rendering(make, lifespan=lifespan)
    found.append(tm)
    await tm.emit("render")

    await run_all(tm)

    assert len(ran) == 1


async def test_bad_capabilities_are_refused_and_change_nothing(tm: TaskManager) -> None:
    with pytest.raises(InvalidInput, match="capability 'a b' is not allowed: use 1 to 128"):
        tm.set_capabilities(["a b"])
    for bad in (None, "gpu"):
        with pytest.raises(InvalidInput, match=r"capabilities .* give a list of names"):
            tm.set_capabilities(bad)  # type: ignore[arg-type]

    assert tm.settings.capabilities == ()


async def test_a_worker_is_what_its_settings_say(make: Make) -> None:
    tm, ran = rendering(make, type="encoder", levels=[5], region="eu", prefetch=0)
    others, done = rendering(make)
    for region in ("eu", "us"):
        await tm.emit("plain", data=region, type="encoder", region=region, priority=5)
    await tm.emit("plain", data=1, type="encoder")
    await tm.emit("plain", data=2)

    await run_all(tm)
    await run_all(others)

    assert (len(ran), len(done)) == (1, 1)
