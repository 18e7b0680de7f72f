"""What is emitted arrives as it was given, or is refused with the name of what would not."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    Json,
    PlainSerializer,
    PlainValidator,
    PrivateAttr,
    RootModel,
    SecretBytes,
    SecretStr,
    SerializeAsAny,
    computed_field,
    field_serializer,
    field_validator,
)
from pydantic.dataclasses import dataclass as checked_dataclass

from consumers.errors import NotSerializable
from processors.processor import encode as encode_result
from taskmanager.handlers.payloads import payload_of
from taskmanager.options.envelope import body_of

_TWICE = datetime(2026, 10, 25, 2, 30, tzinfo=ZoneInfo("Europe/Berlin"), fold=1)


class Engine(BaseModel):
    kind: str


class ApiEngine(Engine):
    url: str


class Task(BaseModel):
    engine: Engine
    others: list[Engine] = []


class TaskOfAny(BaseModel):
    engine: SerializeAsAny[Engine]


class TaskOfEither(BaseModel):
    engine: ApiEngine | Engine


@checked_dataclass
class CheckedTask:
    engine: Engine


class Login(BaseModel):
    user: str
    token: SecretStr | None = None


class OpenLogin(BaseModel):
    token: SecretStr

    @field_serializer("token", when_used="json")
    def as_text(self, token: SecretStr) -> str:
        return token.get_secret_value()


@dataclasses.dataclass
class PlainLogin:
    token: SecretStr


class Doubled(BaseModel):
    model_config = ConfigDict(extra="forbid")
    n: int

    @computed_field  # type: ignore[prop-decorator]
    @property
    def double(self) -> int:
        return 2 * self.n


class Embedded(BaseModel):
    inner: Json[list[int]]


class Renamed(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: str = Field("nobody", validation_alias="fullName")


class Mixed(BaseModel):
    name: str = Field("nobody", validation_alias="fullName", serialization_alias="full_name")


class Shouted(BaseModel):
    word: str

    @field_validator("word")
    @classmethod
    def louder(cls, word: str) -> str:
        return f"{word}!"


class Moment(BaseModel):
    at: datetime
    id: UUID = UUID(int=7)


class Private(BaseModel):
    n: int
    _seen: int = PrivateAttr(default=0)


class Numbers(RootModel[list[int]]): ...


class Opaque:
    """Has no comparison of its own."""


class Incomparable:
    """Has a comparison that is none, as arrays have."""

    def __eq__(self, other: object) -> bool:
        raise ValueError("ambiguous")

    __hash__ = None  # type: ignore[assignment]


class CustomOfMany(BaseModel):
    model_config = ConfigDict(arbitrary_types_allowed=True)
    it: Annotated[
        Incomparable,
        PlainSerializer(lambda _: "many", when_used="json"),
        PlainValidator(lambda _: Incomparable()),
    ]


class Custom(BaseModel):
    model_config = ConfigDict(arbitrary_types_allowed=True)
    it: Annotated[Opaque, PlainSerializer(lambda _: "opaque"), PlainValidator(lambda _: Opaque())]


@pytest.mark.parametrize(
    "given",
    [
        Task(engine=Engine(kind="plain")),
        TaskOfEither(engine=ApiEngine(kind="api", url="x")),
        Login(user="ada"),
        Login(user="ada", token=SecretStr("")),
        OpenLogin(token=SecretStr("hunter2")),
        Doubled(n=2),
        Embedded(inner="[1, 2]"),  # type: ignore[arg-type]
        Renamed(fullName="Ada"),  # type: ignore[call-arg]
        Moment(at=datetime(2026, 1, 1, tzinfo=UTC)),
        Numbers([1, 2]),
    ],
    ids=repr,
)
def test_a_model_comes_back_equal(given: Any) -> None:
    payload = payload_of(lambda job: None, type(given))

    assert payload is not None
    assert payload.decode(body_of("a", given)) == given


def test_a_moment_of_the_hour_that_clocks_pass_twice_is_taken() -> None:
    # Two moments of that hour are not equal to Python when their zones are two objects.
    assert body_of("a", Moment(at=_TWICE)).startswith(b'{"at":"2026-10-25T02:30:00+01:00"')


@pytest.mark.parametrize(
    "given",
    [Private(n=1), Custom(it=Opaque()), CustomOfMany(it=Incomparable())],
    ids=["private", "opaque", "incomparable"],
)
def test_what_is_not_data_may_be_lost(given: BaseModel) -> None:
    assert body_of("a", given) == given.model_dump_json().encode()


@pytest.mark.parametrize(
    ("given", "place"),
    [
        (Login(user="ada", token=SecretStr("hunter2")), "token"),
        (PlainLogin(SecretStr("hunter2")), "token"),
        ({"logins": [Login(user="ada", token=SecretStr("hunter2"))]}, "logins.0.token"),
        ({"key": (SecretBytes(b"hunter2"), 1)}, "key.0"),
        (SecretStr("hunter2"), "the top level"),
    ],
)
def test_a_secret_is_refused_where_asterisks_would_arrive(given: object, place: str) -> None:
    with pytest.raises(NotSerializable) as refused:
        body_of("login", given)

    assert f"the data of 'login' cannot be stored as JSON: at {place} a secret" in str(
        refused.value
    )
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    ("given", "place"),
    [
        (Task(engine=ApiEngine(kind="api", url="x")), "engine.url"),
        (TaskOfAny(engine=ApiEngine(kind="api", url="x")), "engine.url"),
        (CheckedTask(ApiEngine(kind="api", url="x")), "engine.url"),
        (
            {"task": Task(engine=Engine(kind="a"), others=[ApiEngine(kind="api", url="x")])},
            "task.others.0.url",
        ),
    ],
)
def test_what_a_subclass_adds_is_refused_where_it_would_be_lost(given: object, place: str) -> None:
    with pytest.raises(
        NotSerializable, match=rf"at {place} a value would be lost .* with the subclass"
    ):
        body_of("a", given)


@pytest.mark.parametrize(
    ("given", "place"),
    [(Mixed(fullName="Ada"), "name"), (Shouted(word="hey"), "word")],  # type: ignore[call-arg]
)
def test_a_field_that_reads_otherwise_than_it_writes_is_refused(given: object, place: str) -> None:
    with pytest.raises(
        NotSerializable, match=f"at {place} the value would change when the model is read"
    ):
        body_of("a", given)


def test_a_model_that_cannot_be_read_again_is_refused_with_the_reason() -> None:
    wrong = Engine.model_construct(kind=7)

    with (
        pytest.warns(UserWarning, match="Expected `str`"),
        pytest.raises(
            NotSerializable, match="at kind it could not be read again: Input should be a"
        ),
    ):
        body_of("a", wrong)


def test_data_that_is_json_already_is_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "taskmanager.options.envelope.loss_in", lambda value: pytest.fail(repr(value))
    )

    assert body_of("a", {"to": "ada", "n": [1, None, 2.5]}) == b'{"to":"ada","n":[1,null,2.5]}'


def test_a_result_keeps_what_is_computed_as_nobody_reads_it_as_a_model() -> None:
    assert encode_result(Doubled(n=2), what="the result", limit=100) == b'{"n":2,"double":4}'
