"""Registering handlers, and the context that they are given."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from consumers.errors import InvalidInput
from taskmanager import AlreadyInitializedError, AlreadyStarted, Context, TaskManager
from taskmanager.handlers.registry import Registry


async def full(job: Any, ctx: Any) -> None: ...


def plain(job: Any) -> None: ...


def anything(*args: Any) -> None: ...


def defaulted(job: Any, ctx: Any = None, *, verbose: bool = False) -> None: ...


def nothing() -> None: ...


def three(job: Any, ctx: Any, more: Any) -> None: ...


def keyword(job: Any, ctx: Any, *, db: Any) -> None: ...


def generator(job: Any) -> Iterator[int]:
    yield 1


async def async_generator(job: Any) -> AsyncIterator[int]:
    yield 1


class Callable_:
    async def __call__(self, job: Any, ctx: Any) -> None: ...

    def method(self, job: Any) -> None: ...


@functools.wraps(full)
def wrapped(*args: Any, **kwargs: Any) -> Any:
    return full(*args, **kwargs)


@functools.wraps(three)
def gives_one(job: Any, ctx: Any) -> Any:
    return three(job, ctx, "more")


@functools.wraps(keyword)
def gives_a_keyword(job: Any) -> Any:
    return keyword(job, None, db="db")


@functools.wraps(keyword)
def gives_a_keyword_to_any(*args: Any) -> Any:
    return keyword(*args, db="db")


def of_session(job: Any, session: Any) -> None: ...


@functools.wraps(of_session)
def gives_session(*args: Any, **kwargs: Any) -> Any:
    return of_session(*args, session="session", **kwargs)


@functools.wraps(of_session)
def gives_what_it_wraps_calls_otherwise(job: Any, ctx: Any) -> Any:
    return of_session(job, ctx.session)


def typed(job: Any, services: Context[Any]) -> None: ...


@functools.wraps(typed)
def hands_on(*args: Any) -> Any:
    return typed(*args)


@pytest.fixture
def tm() -> TaskManager:
    return TaskManager()


@pytest.fixture(autouse=True)
def _no_singleton() -> Iterator[None]:
    yield
    TaskManager.reset()


def bound(tm: TaskManager, queue: str, event: str) -> Any:
    return tm._registry.bind(tm.get_context(), tm)[queue, event]


def test_every_form_registers_the_same_handler_and_returns_it(tm: TaskManager) -> None:
    returned = [
        tm.registerHandler(event="a", queue="mail")(full),
        tm.registerHandler(handler=full, event="b", queue="mail", options={}),
        tm.registerHandler(full, {"event": "c", "queue": "mail", "options": {}}),
        tm.registerHandler({"handler": full, "event": "d", "queue": "mail"}),
        tm.registerHandler(full, event="e", queue="mail"),
        tm.register_handler(event="f", queue="mail")(full),
    ]

    assert returned == [full] * 6
    assert tm.handlers == [("mail", event) for event in "abcdef"]


def test_a_handler_without_a_queue_belongs_to_the_default_one(tm: TaskManager) -> None:
    tm.registerHandler(full, {"event": "a"})

    assert tm.handlers == [("default", "a")]


@pytest.mark.parametrize(
    ("handler", "extra", "is_async"),
    [
        (full, 1, True),
        (plain, 0, False),
        (anything, 1, False),
        (defaulted, 1, False),
        (wrapped, 1, False),
        (functools.partial(wrapped), 1, False),
        (gives_one, 1, False),
        (gives_a_keyword, 0, False),
        (gives_a_keyword_to_any, 1, False),
        (gives_session, 0, False),
        (functools.partial(gives_session), 0, False),
        (gives_what_it_wraps_calls_otherwise, 1, False),
        (hands_on, 1, False),
        (functools.lru_cache(plain), 0, False),
        (functools.partial(three, more=1), 1, False),
        (functools.partial(full), 1, True),
        (Callable_(), 1, True),
        (Callable_().method, 0, False),
        (lambda job, ctx: None, 1, False),
    ],
)
def test_a_handler_is_given_what_it_takes(
    tm: TaskManager, handler: Any, extra: int, is_async: bool
) -> None:
    tm.registerHandler(handler, event="a")

    found = bound(tm, "default", "a").handler
    assert found.extra == (tm.get_context(),) * extra
    assert found.is_async is is_async


@pytest.mark.parametrize(
    ("handler", "message"),
    [
        (nothing, r"nothing cannot be a handler: it takes 0 positional parameters. Write def noth"),
        (three, r"three cannot be a handler: it takes 3 positional parameters"),
        (
            keyword,
            r"keyword cannot be a handler: it needs db, but handlers get no keyword arguments",
        ),
        (generator, r"it is a generator, so calling it would run nothing"),
        (async_generator, r"it is a generator"),
        (Callable_, r"Callable_ cannot be a handler: it is not a function"),
        ("full", r"'full' cannot be a handler: it is not a function. Write def handler\(job, ctx"),
        (dict.get, r"it takes 3 positional parameters"),
        (lambda: None, r"Write def handler\(job, ctx\) or async def, or leave ctx out"),
    ],
)
def test_what_cannot_be_called_with_a_job_is_refused(
    tm: TaskManager, handler: Any, message: str
) -> None:
    with pytest.raises(InvalidInput, match=message):
        tm.registerHandler(event="a")(handler)

    assert tm.handlers == []


@pytest.mark.parametrize(
    ("positional", "given", "message"),
    [
        ((), {}, "event None is not allowed: write"),
        ((full,), {}, "event None is not allowed"),
        ((full, {}), {}, "event None is not allowed"),
        ((full, {"event": "a b"}), {}, "event 'a b' is not allowed"),
        ((), {"event": "a", "queue": ""}, "queue '' is not allowed"),
        (
            (),
            {"event": "a", "retires": 3},
            "unknown option 'retires' in registerHandler.*; allowed",
        ),
        ((), {"event": "a", "retry": 3}, "retry 3 is not allowed: give RetryPolicy"),
        ((), {"event": "a", "max_retries": -1}, "max_retries -1 is not allowed: give a whole"),
        ((), {"event": "a", "timeout": 0}, "timeout 0 is not allowed: give seconds or a timede"),
        (
            (),
            {"event": "a", "maxRetries": 3},
            "unknown option 'maxRetries' in registerHandler .use",
        ),
        ((), {"event": "a", "attempts": 3}, "unknown option 'attempts' in registerHandler .use"),
        (
            (full, {"event": "a", "attempts": 3}),
            {"max_retries": 4},
            "the keyword 'max_retries' and options of registerHandler cannot be combined",
        ),
        (
            (),
            {"event": "a", "max_retries": 4, "options": {"attempts": 3}},
            "the keyword 'max_retries' and options of registerHandler's options cannot be combined",
        ),
        ((full, {"event": "a", "delay": 3}), {}, "unknown option 'delay' in registerHandler"),
        ((full, {"event": "a"}, 3), {}, r"arguments of registerHandler \(3,\) is not allowed"),
        ((full, {"event": "a"}), {"event": "b"}, "the keyword 'event' and options of registerH"),
        ((full,), {"event": "a", "handler": plain}, "the first argument and handler of register"),
        ((), {"event": "a", "options": 7}, "the options of registerHandler's options 7 is not"),
        (
            (),
            {"event": "a", "options": {"every": {"pattern": "* * * * *"}}},
            "unknown option 'every' in registerHandler's options .use 'repeat'.; all",
        ),
    ],
)
def test_a_bad_registration_is_refused_at_once(
    tm: TaskManager, positional: Any, given: Any, message: str
) -> None:
    register: Any = tm.registerHandler
    with pytest.raises(InvalidInput, match=message):
        register(*positional, **given)


@pytest.mark.parametrize(
    ("positional", "given"),
    [
        ((full,), {"event": "a", "max_retries": 3, "timeout": 30}),
        ((full,), {"event": "a", "max_retries": 3, "timeout": timedelta(seconds=30)}),
        ((full,), {"event": "a", "options": {"retryCount": 3, "timeout": 30.0}}),
        ((full, {"event": "a", "maxRetries": 3, "options": {"timeout": 30}}), {}),
        (({"handler": full, "event": "a", "attempts": 3, "timeout": 30},), {}),
        ((full,), {"event": "a", "max_retries": 3, "timeout": 30, "options": {"attempts": 3}}),
    ],
)
def test_how_jobs_are_treated_may_be_said_in_every_form(
    tm: TaskManager, positional: Any, given: Any
) -> None:
    register: Any = tm.registerHandler
    register(*positional, **given)

    registration = bound(tm, "default", "a")
    assert (registration.max_retries, registration.timeout) == (3, 30.0)
    assert (registration.retry_delay_ms, registration.retry) == (None, None)


def test_middleware_and_on_dead_are_called_as_their_wrappers_are(tm: TaskManager) -> None:
    async def layer(job: Any, ctx: Any, call_next: Any, clock: Any) -> None: ...

    def tell(letter: Any, channel: Any) -> None: ...

    @functools.wraps(layer)
    async def timed(job: Any, ctx: Any, call_next: Any) -> None: ...

    @functools.wraps(tell)
    def tell_all(letter: Any) -> None: ...

    assert tm.middleware(timed) is timed
    assert tm.on_dead(tell_all) is tell_all


def test_a_second_handler_replaces_the_first_with_a_warning(
    tm: TaskManager, caplog: pytest.LogCaptureFixture
) -> None:
    tm.registerHandler(full, event="a")
    tm.registerHandler(plain, event="a")

    assert bound(tm, "default", "a").handler.call is plain
    assert "a second handler for event" in caplog.text


def test_registering_after_the_start_is_refused() -> None:
    registry = Registry()
    registry.frozen = True

    with pytest.raises(AlreadyStarted, match="the handler of 'a' in queue 'mail' comes too late"):
        registry.register((), {"event": "a", "queue": "mail"})


def test_settings_may_narrow_the_queues(tm: TaskManager) -> None:
    for queue in ("mail", "images", "mail"):
        tm.registerHandler(full, event=queue, queue=queue)
    assert list(tm.queues) == ["mail", "images"]

    tm.configure(queues="images")

    assert list(tm.queues) == ["images"]


def test_a_queue_without_handlers_cannot_be_worked_on(tm: TaskManager) -> None:
    tm.registerHandler(full, event="a", queue="mail")
    tm.configure(queues="mail,imgaes")

    with pytest.raises(InvalidInput, match=r"queues 'imgaes' is not allowed: .* handlers: mail"):
        _ = tm.queues


class App:
    db = "a class attribute"

    def __init__(self) -> None:
        self.cache = "an instance attribute"

    def greet(self) -> str:
        return "hello"


@pytest.mark.parametrize(
    "app", [{"cache": 1, "db": 2}, SimpleNamespace(cache=1, db=2)], ids=["mapping", "object"]
)
def test_ctx_has_attributes_and_keys_of_a_mapping_or_object(app: Any) -> None:
    ctx = TaskManager(ctx=app).get_context()

    assert (ctx.cache, ctx["db"]) == (1, 2)
    assert "cache" in ctx
    assert "chache" not in ctx
    assert list(ctx) == ["cache", "db"]
    assert ctx.app is app


def test_ctx_of_an_object_reaches_its_methods_and_class() -> None:
    ctx = TaskManager(ctx=App()).get_context()

    assert (ctx.greet(), ctx["db"], ctx.cache) == ("hello", "a class attribute", ctx["cache"])


def test_ctx_sees_later_changes_of_the_original() -> None:
    app = {"n": 1}
    ctx = TaskManager(ctx=app).get_context()

    app["n"] = 2

    assert ctx.n == 2


def test_ctx_without_an_app_is_empty_and_can_emit() -> None:
    ctx = TaskManager().get_context()

    assert list(ctx) == []
    assert ctx.app == {}
    assert callable(ctx.emit)


@pytest.mark.parametrize("app", [{"db": 1}, SimpleNamespace(db=1)], ids=["mapping", "object"])
def test_ctx_says_what_it_has_when_something_is_missing(app: Any) -> None:
    ctx = TaskManager(ctx=app).get_context()

    with pytest.raises(AttributeError, match=r"^ctx has no 'bd'; it has: app, emit, db$"):
        _ = ctx.bd
    with pytest.raises(KeyError, match="ctx has no 'bd'; it has: app, emit, db"):
        _ = ctx["bd"]


def test_ctx_is_read_only() -> None:
    ctx: Any = TaskManager(ctx={"db": 1}).get_context()

    with pytest.raises(AttributeError, match=r"ctx is read-only: set 'db' on ctx.app"):
        ctx.db = 2
    with pytest.raises(AttributeError, match="ctx is read-only: delete 'db'"):
        del ctx.db
    with pytest.raises(TypeError):
        ctx["db"] = 2


@pytest.mark.parametrize("app", [{"emit": 1}, SimpleNamespace(emit=1)], ids=["mapping", "object"])
def test_an_emit_of_ones_own_in_ctx_is_refused(app: Any) -> None:
    with pytest.raises(InvalidInput, match="ctx with its own 'emit' is not allowed"):
        TaskManager(ctx=app)


def test_init_returns_one_instance_for_the_same_options() -> None:
    app: dict[str, Any] = {}
    first = TaskManager.init("redis://a/0", ctx=app, concurrency=4)

    assert TaskManager.init("redis://a/0", ctx=app, concurrency=4) is first


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"db": "redis://b/0"}, "concurrency, db"),
        ({"concurrency": 5, "db": "redis://a/0"}, "concurrency"),
        ({"concurrency": 4}, "db"),
        ({"concurrency": 4, "db": "redis://a/0", "lease": 10}, "lease"),
    ],
)
def test_init_with_other_options_names_them(options: dict[str, Any], named: str) -> None:
    TaskManager.init(db="redis://a/0", concurrency=4)

    with pytest.raises(AlreadyInitializedError, match=f"already called with another {named}: give"):
        TaskManager.init(**options)


def test_after_a_reset_init_constructs_anew() -> None:
    first = TaskManager.init(db="redis://a/0")
    TaskManager.reset()

    assert TaskManager.init(db="redis://b/0") is not first
