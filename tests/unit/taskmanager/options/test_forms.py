"""A job made from the form of an earlier one is the job that it would be by itself."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumers.errors import InvalidInput, InvalidName
from consumers.jobs.job import Job
from taskmanager import TaskManager
from taskmanager.errors import InvalidPayload
from taskmanager.options import forms
from taskmanager.options.request import Way, new_jobs, requested


class Name(str, Enum):  # noqa: UP042 - its texts are other ones than its values
    """Texts of another type."""

    TYPED = "typed"
    A = "a"


_DATA = st.one_of(
    st.none(), st.booleans(), st.integers(), st.text(max_size=3),
    st.dictionaries(st.sampled_from("abc"), st.one_of(st.integers(), st.booleans()), max_size=3),
)  # fmt: skip
# Equal values of different types, values that are not allowed, and those that cannot be hashed.
_NUMBERS = st.sampled_from([None, 0, 1, 1.0, True, False, -0.0, "1", timedelta(seconds=1), [], 400])
_TEXTS = st.sampled_from([None, "a", Name.A, "b", "", 7, "a b", []])
# Lists of texts, of other things, and of too many texts.
_LISTS = st.sampled_from([
    None, [], ["a"], ["b", "a"], ("a", "b"), {"a", "b"}, frozenset("a"), [Name.A], ["a b"], [7],
    [["a"]], [mock.ANY], "a", 7, {"a": 1}, [f"{n}" for n in range(33)],
])  # fmt: skip
_OPTIONS = {
    "event": st.sampled_from(["typed", Name.TYPED, "stormy", "able", "other", "a b", None]),
    "queue": st.sampled_from([None, "default", "other", 7]),
    "data": _DATA,
    "Data": _DATA,
    "id": _TEXTS,
    "deduplicate": st.sampled_from([None, True, False, 1]),
    "idempotency_key": _TEXTS,
    "priority": _NUMBERS,
    "delay": _NUMBERS,
    "delay_until": st.sampled_from([None, datetime(2026, 1, 1, tzinfo=UTC), 5]),
    "timeout": _NUMBERS,
    "max_retries": _NUMBERS,
    "retryCount": _NUMBERS,
    "expires": _NUMBERS,
    "debounce": _NUMBERS,
    "debounce_ms": _NUMBERS,
    "debounce_key": _TEXTS,
    "correlation_id": _TEXTS,
    "partition": _TEXTS,
    "type": _TEXTS,
    "requires": _LISTS,
    "only": _LISTS,
    "antiAffinity": _LISTS,
    "anti_affinity": _LISTS,
    "region": _TEXTS,
    "reject_unroutable": st.sampled_from([None, True, False, 1]),
    "repeat": st.sampled_from([None, "@daily", 3]),
    "options": st.sampled_from([None, {}, {"priority": 2}, {"id": "c"}]),
    "unknown": _TEXTS,
}
_ITEM = st.lists(st.sampled_from([*_OPTIONS]), max_size=3).flatmap(
    lambda names: st.fixed_dictionaries({name: _OPTIONS[name] for name in ["event", *names]})
)


def _registry() -> Any:
    tm = TaskManager("redis://nowhere.invalid")

    @tm.registerHandler(event="typed")
    async def typed(job: Job[dict[str, int]]) -> None: ...

    @tm.registerHandler(event="stormy", debounce=300)
    async def stormy(job: Job) -> None: ...

    @tm.registerHandler(event="able", requires=["a"])
    async def able(job: Job) -> None: ...

    return tm._registry


REGISTRY = _registry()


def _of_item(item: dict[str, Any], way: Way) -> object:
    return new_jobs([item], way=way).jobs[0]


def _of_keywords(item: dict[str, Any], way: Way) -> object:
    arguments = {name: value for name, value in item.items() if name != "event"}
    return requested(item["event"], arguments, way=way)


def _of_object(item: dict[str, Any], way: Way) -> object:
    return requested(item, {}, way=way)


_EMITS = st.lists(
    st.tuples(st.sampled_from([_of_item, _of_keywords, _of_object]), _ITEM), min_size=2, max_size=9
)


def _outcome(emit: Any, item: dict[str, Any], way: Way) -> object:
    try:
        made = emit(item, way)
        return type(made), made
    except InvalidInput as error:
        return type(error), str(error)


@mock.patch("taskmanager.options.forms.fresh_id", mock.Mock(return_value="fresh"))
@given(_EMITS)
def test_a_job_of_a_kept_form_is_what_it_would_be_by_itself(emits: Any) -> None:
    way = Way(REGISTRY)
    for emit, item in emits:
        # Twice: what has no error is made from the kept form the second time.
        found = [_outcome(emit, item, way) for _ in range(2)]
        assert found == [_outcome(emit, item, Way(REGISTRY))] * 2


def test_like_items_are_checked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    monkeypatch.setattr(forms, "envelope_options", lambda *given: made.append(given) or b"")
    items = [{"event": "x", "priority": 1, "timeout": 5, "data": n} for n in range(9)]

    jobs = new_jobs([*items, {"event": "x", "priority": 2}], way=Way(REGISTRY)).jobs

    assert len({job.id for job in jobs}) == 10
    assert len(made) == 2


def test_a_handler_that_comes_later_counts_for_forms_of_before() -> None:
    registry = _registry()
    way = Way(registry)
    assert requested("late", {"data": {"n": "1"}}, way=way).guard == ""

    async def late(job: Job[dict[str, int]]) -> None: ...

    registry.register((late,), {"event": "late", "debounce": 300})

    assert requested("late", {"data": {"n": 1}}, way=way).guard.startswith("t ")
    with pytest.raises(InvalidPayload):
        requested("late", {"data": {"n": "one"}}, way=way)


def test_the_number_of_kept_forms_is_bounded() -> None:
    way = Way(REGISTRY)
    for number in range(3000):
        requested("x", {"delay": number}, way=way)

        requested("x", {"delay": number, "requires": ["gpu"]}, way=way)

    kept = way.forms(None)
    assert len(kept._kept) + len(kept._lists) <= 256


@pytest.mark.parametrize(
    "given",
    [
        {"requires": ["gpu", "av1"]},
        {"requires": ["gpu"], "priority": 5},
        {"only": ("w1", "w2"), "anti_affinity": {"w3"}, "type": "encoder"},
    ],
)
def test_like_items_with_lists_are_checked_once(
    given: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []
    monkeypatch.setattr(forms, "envelope_options", lambda *given: made.append(given) or b"")
    way = Way(REGISTRY)
    again = {name: type(it)(it) for name, it in given.items()}

    for _ in range(5):
        for arguments in (given, {"queue": "mail"}, {"requires": ["other"]}, again):
            requested("x", {"data": 1, **arguments}, way=way)

    assert len(made) == 3


def test_a_list_that_is_changed_afterwards_is_another() -> None:
    way, requires = Way(None), ["gpu"]
    first = requested("x", {"requires": requires}, way=way)
    requires.append("av1")

    second = requested("x", {"requires": requires}, way=way)

    assert second.lane != first.lane
    assert second == requested("x", {"requires": ["gpu", "av1"]})


class _Unequal:
    """A value that cannot be compared, like an array."""

    __hash__ = object.__hash__

    def __eq__(self, other: object) -> bool:
        raise ValueError


def test_a_value_that_cannot_be_compared_is_refused_like_any_other() -> None:
    way = Way(REGISTRY)
    requested("x", {"queue": "mail"}, way=way)

    with pytest.raises(InvalidName):
        requested("x", {"queue": _Unequal()}, way=way)


def test_data_that_is_left_out_stays_empty_whatever_is_emitted_between() -> None:
    way = Way(REGISTRY)
    bodies = [requested("x", {}, way=way).data for _ in range(2)]
    requested("x", {"data": {"b": {"d": 1, "c": 2}, "a": 3}}, way=way)

    assert [*bodies, requested("x", {}, way=way).data] == [b"{}"] * 3


def test_a_text_of_another_type_is_not_like_the_plain_one() -> None:
    items: list[dict[str, Any]] = [
        {"event": Name.TYPED, "partition": Name.A, "data": 1},
        {"event": "typed", "partition": "a", "data": 2},
    ]
    way = Way(None)

    first, _, again = new_jobs([items[0], items[1], items[0]], way=way).jobs

    assert first == again


def test_a_form_that_was_made_while_a_handler_was_registered_is_not_kept() -> None:
    class Registering:
        """A registry to which another thread adds a handler while a form is made."""

        changes = 0

        def names_of(self, handler: object) -> list[tuple[str, str]]:
            return []

        def rules_of(self, queue: str, event: str) -> Any:
            self.changes += 1
            return REGISTRY.rules_of(queue, event)

    known = Registering()
    kept = forms.Forms(known).up_to_date()
    item = {"event": "other", "data": 1}

    kept.add(item, "other", "default", {})

    assert kept.like(item)[0] is None
