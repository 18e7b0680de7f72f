"""Typed payloads: what job.data becomes, and what is refused at emit."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NotRequired, TypedDict, TypeVar

import pytest
from pydantic import BaseModel, ValidationError
from typing_extensions import TypedDict as ExtendedTypedDict

import taskmanager
from consumers.errors import InvalidInput
from taskmanager import Context, InvalidHandler, InvalidPayload, Job, TaskManager
from taskmanager.handlers.payloads import payload_of
from taskmanager.options.request import Way, requested

if TYPE_CHECKING:
    from decimal import Decimal

D = TypeVar("D")


class Email(BaseModel):
    to: str
    copies: int = 1


@dataclass
class Order:
    amount: int


class Cell(TypedDict):
    value: int


class Row(TypedDict):
    name: str
    cell: NotRequired[Cell]


class Loose(TypedDict, total=False):
    n: int


class Extended(ExtendedTypedDict):
    name: str


def with_model(job: Job[Email], ctx: Context) -> None: ...
def with_path(job: taskmanager.Job[Email]) -> None: ...
def with_dataclass(job: Job[Order]) -> None: ...
def with_typed_dict(job: Job[Row]) -> None: ...
def with_extended(job: Job[Extended]) -> None: ...
def with_loose(job: Job[Loose]) -> None: ...
def with_list(job: Job[list[int]]) -> None: ...
def with_int(job: Job[int]) -> None: ...
def with_union(job: Job[int | None]) -> None: ...
def with_any(job: Job[Any]) -> None: ...
def with_job(job: Job) -> None: ...  # type: ignore[type-arg]
def with_nothing(job, ctx): ...  # type: ignore[no-untyped-def]
def with_variable(job: Job[D]) -> None: ...
def with_other(job: object, ctx: Job[Email]) -> None: ...
def with_unknown(job: Job[Decimal]) -> None: ...
def with_class(job: Job[TaskManager]) -> None: ...  # type: ignore[type-arg]


@functools.wraps(with_model)
def wrapped(*args: Any) -> None: ...


class Handlers:
    def method(self, job: Job[Email], ctx: Context) -> None: ...

    async def __call__(self, job: Job[Email]) -> None: ...


@pytest.mark.parametrize(
    ("handler", "data", "decoded"),
    [
        (with_model, b'{"to":"ada"}', Email(to="ada")),
        (with_path, b'{"to":"ada"}', Email(to="ada")),
        (wrapped, b'{"to":"ada"}', Email(to="ada")),
        (functools.partial(with_model), b'{"to":"ada"}', Email(to="ada")),
        (Handlers().method, b'{"to":"ada"}', Email(to="ada")),
        (Handlers(), b'{"to":"ada"}', Email(to="ada")),
        (with_dataclass, b'{"amount":3}', Order(3)),
        (with_typed_dict, b'{"name":"x"}', {"name": "x"}),
        (with_typed_dict, b'{"name":"x","cell":{"value":1}}', {"name": "x", "cell": {"value": 1}}),
        (with_extended, b'{"name":"x"}', {"name": "x"}),
        (with_list, b"[1,2]", [1, 2]),
        (with_int, b"7", 7),
        (with_union, b"null", None),
    ],
)
def test_the_annotation_of_the_job_says_what_its_data_is(
    handler: Any, data: bytes, decoded: Any
) -> None:
    payload = payload_of(handler, None)

    assert payload is not None
    assert payload.decode(data) == decoded
    with pytest.raises(ValidationError):
        payload.decode(b'{"nonsense":{}}')


def test_what_a_typed_dict_does_not_need_may_be_missing() -> None:
    payload = payload_of(with_loose, None)

    assert payload is not None
    assert payload.decode(b"{}") == {}
    with pytest.raises(ValidationError):
        payload.decode(b'{"n":"x"}')


@pytest.mark.parametrize(
    "handler", [with_any, with_job, with_nothing, with_variable, with_other, lambda job: None]
)
def test_other_handlers_take_any_data(handler: Any) -> None:
    assert payload_of(handler, None) is None


def test_payload_wins_over_the_annotation() -> None:
    payload = payload_of(with_unknown, Order)

    assert payload is not None
    assert payload.decode(b'{"amount":3}') == Order(3)


@pytest.mark.parametrize(
    ("handler", "message"),
    [
        (with_unknown, r"its annotation .Job\[Decimal\]. cannot be read here .* payload=Decimal"),
        (with_class, r"with_class cannot be a handler: its payload .* has no schema"),
    ],
)
def test_a_payload_without_a_schema_is_refused_at_registration(handler: Any, message: str) -> None:
    with pytest.raises(InvalidHandler, match=message):
        TaskManager().registerHandler(handler, event="a")


def test_a_wrong_payload_is_refused_at_emit_where_the_handler_is_known() -> None:
    tm = TaskManager()
    tm.registerHandler(with_model, event="send", queue="mail")

    with pytest.raises(
        InvalidPayload, match=r"data of .send. does not fit .*: to: Field required"
    ) as at:
        requested("send", {"queue": "mail", "data": {"copies": 2}}, way=Way(tm._registry))
    assert isinstance(at.value, InvalidInput)
    assert at.value.errors[0]["loc"] == ("to",)
    requested("send", {"queue": "other"}, way=Way(tm._registry))
    requested("sent", {"queue": "mail"}, way=Way(tm._registry))


def test_the_payload_is_stored_as_given() -> None:
    tm = TaskManager()
    tm.registerHandler(with_model, event="send")

    as_dict = requested("send", {"data": {"to": "ada", "more": 1}}, way=Way(tm._registry))
    as_model = requested("send", {"data": Email(to="ada")}, way=Way(tm._registry))

    assert as_dict.data == b'{"to":"ada","more":1}'
    assert as_model.data == b'{"to":"ada","copies":1}'


async def test_a_handler_is_tested_with_a_fake_job() -> None:
    async def send(job: Job[Email]) -> int:
        await job.logger("to " + job.data.to)
        job.progress(1, 2, "half")
        return job.attempt

    job = Job.fake(Email(to="ada"), attempt=2, max_retries=1, queue="mail", id="7")

    assert await send(job) == 2
    assert (job.logged, job.progressed) == (["to ada"], [(1, 2, "half")])
    assert (job.id, job.queue, job.is_last_attempt) == ("7", "mail", True)


@pytest.mark.parametrize("name", ["attemt", "_notes"])
def test_a_fake_job_has_the_attributes_of_a_job_only(name: str) -> None:
    with pytest.raises(TypeError, match=f"a job has no attribute '{name}'"):
        Job.fake({}, **{name: 1})


@pytest.mark.parametrize("annotation", [int, "str", dict[str, int], "list[int]"])
def test_a_first_parameter_that_cannot_be_a_job_is_refused(annotation: Any) -> None:
    async def greet(name: Any) -> None: ...

    greet.__annotations__["name"] = annotation

    with pytest.raises(InvalidHandler, match=r"is annotated as .*receives the job.*@tm\.task"):
        payload_of(greet, None)
