"""type=, requires=, only=, anti_affinity=, region=: which lane a job gets, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from consumers.errors import InvalidInput
from consumers.jobs.codec import decode
from consumers.jobs.envelope import NewJob
from consumers.jobs.ids import default_id
from consumers.jobs.lanes import Lane
from consumers.jobs.routes import Route
from processors.schedules.schedule import Schedule
from taskmanager import TaskManager
from taskmanager.options.request import Way, new_jobs, requested

GPU = Route("workers", "render", requires=("gpu",))


def job_of(arguments: dict[str, Any], event: str = "render", way: Way | None = None) -> NewJob:
    job = requested(event, arguments, way=way)
    assert isinstance(job, NewJob)
    return job


def route_of(job: NewJob | Schedule) -> Route | None:
    """Return the route that is stored with a job; its lane must be the route's."""
    definition = decode(job.options).get("route") if job.options else None
    return None if definition is None else Route.parse(job.lane.type, definition)


def test_a_job_that_requires_nothing_lies_in_the_lane_of_its_type_and_stores_nothing() -> None:
    assert job_of({}).lane == Lane("default", "workers")
    job = job_of({"type": "encoder", "queue": "media", "partition": "acme", "priority": 2})

    assert (job.lane, job.options) == (Lane("media", "encoder", "acme", 2), b"")


@pytest.mark.parametrize(
    "nothing", [{"requires": []}, {"only": (), "anti_affinity": set()}, {"region": None}]
)
def test_an_empty_list_is_no_requirement(nothing: dict[str, Any]) -> None:
    assert job_of(nothing) == job_of({})


def test_what_is_required_names_a_route_whose_definition_is_stored_with_the_job() -> None:
    job = job_of({"requires": ["gpu"], "queue": "media", "partition": "acme", "priority": 2})

    assert job.lane == Lane("media", GPU.name, "acme", 2)
    assert decode(job.options) == {"route": {"event": "render", "requires": ["gpu"]}}


def test_all_requirements_are_in_the_route_beside_the_other_options() -> None:
    given = {
        "type": "encoder",
        "requires": ["gpu", "av1", "gpu"],
        "only": ["enc-1", "enc-2"],
        "anti_affinity": ["enc-2"],
        "region": "eu",
        "timeout": 5,
    }

    job = job_of(given)

    wanted = Route("encoder", "render", ("av1", "gpu"), only=("enc-1",), region="eu")
    assert route_of(job) == wanted
    assert decode(job.options)["timeout"] == 5.0
    # Scripts cut it out of the text.
    assert job.options.startswith(b'{"route":' + wanted.json + b",")


@pytest.mark.parametrize("named", [["av1", "gpu"], ("gpu", "av1"), {"gpu", "av1"}])
def test_the_order_and_kind_of_a_list_do_not_matter(named: Any) -> None:
    wanted = Route("workers", "render", requires=("gpu", "av1"))

    assert route_of(job_of({"requires": named})) == wanted


def test_they_may_be_in_a_dict_in_camel_case() -> None:
    wanted = job_of({"anti_affinity": ["enc-2"], "requires": ["gpu"]})
    given = {"antiAffinity": ["enc-2"], "requires": ["gpu"]}

    (item,) = new_jobs([{"event": "render", **given}]).jobs

    assert (
        job_of({"options": given}) == wanted == item == requested({"event": "render", **given}, {})
    )


def test_the_id_of_a_job_does_not_depend_on_them() -> None:
    plain, routed = job_of({"data": 1}), job_of({"data": 1, "type": "a", "requires": ["gpu"]})

    assert plain.id == routed.id == default_id("render", "default", b"1")


def test_two_events_have_two_routes() -> None:
    one, other = job_of({"requires": ["gpu"]}), job_of({"requires": ["gpu"]}, "encode")

    assert one.lane != other.lane


NAMES = [f"w{number}" for number in range(33)]
WRONG: list[tuple[dict[str, Any], str]] = [
    ({"type": "a b"}, "type 'a b' is not allowed: use 1 to 128"),
    ({"type": ["a"]}, r"type \['a'\] is not allowed"),
    ({"type": ["a"], "requires": ["gpu"]}, r"type \['a'\] is not allowed"),
    ({"type": "a+b"}, r"type 'a\+b' is not allowed: use 1 to 128"),
    ({"type": "a+b", "requires": ["gpu"]}, r"type 'a\+b' is not allowed: use 1 to 128"),
    ({"type": "event.a"}, "type 'event.a' is not allowed: a type must not start with"),
    ({"type": "any"}, "type 'any' is not allowed: the type \"any\" is reserved"),
    ({"type": "any", "region": "eu"}, "type 'any' is not allowed: the type \"any\" is reserved"),
    ({"type": 7}, "type 7 is not allowed"),
    ({"requires": "gpu"}, "requires 'gpu' is not allowed: give a list of names"),
    ({"requires": {"gpu": 1}}, "requires {'gpu': 1} is not allowed: give a list of names"),
    ({"requires": 7}, "requires 7 is not allowed: give a list of names"),
    (
        {"requires": ["a b"]},
        r"requires \['a b'\] is not allowed: capability 'a b' is not allowed: u",
    ),
    ({"requires": [7]}, r"requires \[7\] is not allowed: capability 7 is not allowed"),
    ({"requires": [["gpu"]]}, r"requires \[\['gpu'\]\] is not allowed: capability \['gpu'\]"),
    ({"requires": NAMES}, "requires .* is not allowed: it has 33 names, and the limit is 32"),
    ({"only": "w1"}, "only 'w1' is not allowed: give a list of names"),
    ({"only": [""]}, r"only \[''\] is not allowed: worker '' is not allowed"),
    ({"only": NAMES}, "only .* is not allowed: it has 33 names, and the limit is 32"),
    ({"anti_affinity": "w1"}, "anti_affinity 'w1' is not allowed: give a list of names"),
    ({"anti_affinity": NAMES}, "anti_affinity .* is not allowed: it has 33 names"),
    (
        {"only": ["w1"], "anti_affinity": ["w1", "w2"]},
        r"only=\['w1'\] and anti_affinity=\['w1', 'w2'\] exclude each other",
    ),
    ({"region": "a b"}, "region 'a b' is not allowed: use 1 to 128"),
    ({"region": ["eu"]}, r"region \['eu'\] is not allowed"),
    ({"options": {"requires": "gpu"}}, "requires 'gpu' is not allowed: give a list of names"),
    ({"route": {"event": "render"}}, "unknown option 'route' in emit"),
]


@pytest.mark.parametrize(("arguments", "message"), WRONG)
def test_what_is_not_allowed_is_named(arguments: dict[str, Any], message: str) -> None:
    for _ in range(2):
        with pytest.raises(InvalidInput, match=message):
            requested("render", arguments)


def manager() -> TaskManager:
    tm = TaskManager("redis://nowhere.invalid")
    tm.registerHandler(lambda job: None, {"event": "render", "requires": ["gpu"]})
    return tm


def test_a_job_requires_what_its_handler_requires() -> None:
    way = Way(manager()._registry)

    assert route_of(job_of({}, way=way)) == GPU
    assert route_of(job_of({"region": "eu"}, way=way)) == Route(
        "workers", "render", ("gpu",), region="eu"
    )
    assert job_of({}, "other", way=way).lane == Lane("default")


def test_its_own_requirements_replace_the_ones_of_the_handler() -> None:
    way = Way(manager()._registry)

    other = job_of({"requires": ["cpu"]}, way=way)

    assert route_of(other) == Route("workers", "render", ("cpu",))
    assert job_of({"requires": []}, way=way) == job_of({}, way=Way(None))
    assert route_of(job_of({"requires": None}, way=way)) == GPU


def test_a_handler_that_is_registered_later_counts() -> None:
    tm = TaskManager("redis://nowhere.invalid")
    way = Way(tm._registry)
    assert job_of({}, way=way).lane == Lane("default")

    tm.registerHandler(lambda job: None, {"event": "render", "options": {"requires": {"gpu"}}})

    assert route_of(job_of({}, way=way)) == GPU


@pytest.mark.parametrize(
    ("requires", "message"),
    [
        ("gpu", "requires 'gpu' is not allowed: give a list of names"),
        (["a b"], r"requires \['a b'\] is not allowed: capability 'a b'"),
        (NAMES, "requires .* is not allowed: it has 33 names, and the limit is 32"),
    ],
)
def test_a_handler_with_a_bad_requires_is_refused(requires: Any, message: str) -> None:
    tm = TaskManager("redis://nowhere.invalid")

    with pytest.raises(InvalidInput, match=message):
        tm.registerHandler(lambda job: None, {"event": "render", "requires": requires})
    with pytest.raises(InvalidInput, match=message):
        tm.task(requires=requires)(_render)


def _render(scene: str) -> None: ...


def test_a_task_requires_what_it_was_declared_with_in_each_of_its_emits() -> None:
    tm = TaskManager("redis://nowhere.invalid")
    render = tm.task(requires=["gpu"], event="render")(_render)

    with tm.capture():
        pass
    plain = requested("render", {"data": {"scene": "a"}}, way=render._way)
    elsewhere = render.options(queue="media", requires=[])
    cpu = requested("render", {"data": {"scene": "a"}, "requires": []}, way=elsewhere._way)

    assert route_of(plain) == GPU
    assert route_of(requested("render", {"data": {"scene": "a"}}, way=elsewhere._way)) == GPU
    assert cpu.lane.type == "workers"


def test_a_schedule_has_the_requirements_of_its_emit() -> None:
    given = {"repeat": "@daily", "requires": ["gpu"], "type": "encoder"}

    schedule = requested("render", given)

    assert isinstance(schedule, Schedule)
    assert route_of(schedule) == Route("encoder", "render", ("gpu",))
    assert route_of(schedule.job(0)) == Route("encoder", "render", ("gpu",))
    assert schedule.name == "render"


def test_a_schedule_has_the_requirements_of_its_handler_unless_it_names_others() -> None:
    tm = manager()
    emitted = requested("render", {"repeat": "@daily"}, way=Way(tm._registry))
    for event, its in {"a": {}, "b": {"requires": []}, "c": {"only": ["w1"], "type": "x"}}.items():
        repeat = {"pattern": "@daily", **its}
        tm.registerHandler(
            lambda job: None, {"event": event, "requires": ["gpu"], "repeat": repeat}
        )

    a, b, c = tm._registry.schedules("default")

    assert route_of(emitted) == GPU
    assert route_of(a) == Route("workers", "a", ("gpu",))
    assert (b.lane, b.options) == (Lane("default"), b"")
    assert route_of(c) == Route("x", "c", ("gpu",), only=("w1",))
    assert Schedule.read("default", "c", c.definition) == c
