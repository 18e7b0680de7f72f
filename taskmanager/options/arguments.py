"""The manual of what emit, registerHandler and processor= take."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from inspect import cleandoc
from textwrap import indent
from typing import Any, Literal, TypedDict, TypeVar

from consumers.errors import UnknownOption
from processors.retries.retry import RetryFunction, RetryPolicy
from processors.schedules.schedule import Missed, Overlap
from taskmanager.options.tables import EMIT

F = TypeVar("F", bound=Callable[..., Any])

DEFAULT_QUEUE = "default"


class Repeat(TypedDict, total=False):
    """When a schedule emits its job: repeat= of emit. pattern or every is needed.

    pattern          cron, minute first: "0 3 * * *"; or "@hourly", "@daily", "@midnight",
                     "@weekly", "@monthly", "@yearly", "@annually"
    every            in place of pattern: seconds or a timedelta, from 1 second to 1 year. It
                     fires at the multiples of that since 1970, UTC, so no restart moves it
    tz               an IANA name, by whose clocks the pattern is read; "UTC"
    name             what tells schedules of a queue apart; the event, with a digest of data and
                     partition where there are any
    missed           of fire times that passed while no worker lived: "one" job for the latest,
                     "skip" them, or "all" have theirs, the latest 100; "one"
    overlap          while the job of an earlier fire lives: "allow" another, "skip" the fire, or
                     "queue" it until that job has ended; "allow"
    version          of two definitions of a name that of the higher one counts, then the later
                     one; 0
    """

    pattern: str
    every: float | timedelta
    tz: str
    name: str
    missed: Missed
    overlap: Overlap
    version: int


class HandlerRepeat(Repeat, total=False):
    """When a schedule emits the job of a handler: repeat= of registerHandler.

    pattern, every, tz, name, missed, overlap and version as in Repeat, and of the job what an
    emit has beside its repeat:

    data             its payload; {}
    priority         -100 to 100; 0
    partition        its share of the queue; "default"
    """

    data: object
    priority: int
    partition: str


class _Options(TypedDict, total=False):
    id: str | None
    deduplicate: bool
    idempotency_key: str | None
    priority: int | None
    delay: float | timedelta | None
    delay_until: datetime | None
    max_retries: int | None
    retry_delay_ms: int | None
    timeout: float | timedelta | None
    expires: float | timedelta | datetime | None
    debounce: int | timedelta | None
    debounce_ms: int | timedelta | None
    debounce_seconds: float | timedelta | None
    debounce_key: str | None
    debounce_max_wait: float | timedelta | None
    debounce_mode: Literal["trailing", "leading"] | None
    repeat: str | Repeat | None
    correlation_id: str | None
    partition: str


class EmitOptions(_Options, total=False):
    """What the options dict of an emit may hold; EmitArguments says what each is.

    attempts and retry_count are the documents' names for max_retries. In a dict every name
    may be in camelCase as well, which type checkers take in a plain dict only.
    """

    attempts: int | None
    retry_count: int | None


class CallOptions(_Options, total=False):
    """What a task's options() takes: what EmitArguments says of a job, and these.

    queue       where the job waits, in place of the task's own queue
    on_success  True: in a handler, add the job in the step that records this one as completed
    """

    queue: str
    on_success: bool


class EmitWithoutData(_Options, total=False):
    """What emit takes beside the event and the data; see EmitArguments."""

    queue: str
    options: EmitOptions | Mapping[str, Any] | None


class EmitArguments(EmitWithoutData, total=False):
    """What emit takes beside the event; all may be left out.

    queue            where the job waits; "default"
    data             the payload: JSON values, a model, a dataclass; {}; None is stored as null
    options          the following ones as a dict, see EmitOptions
    id               the job's id; made from event, partition and data. While a job of this
                     id lives, another emit of it adds nothing
    deduplicate      False: a random id, so that equal jobs are separate jobs; True
    idempotency_key  any text: while a job of this event, partition and key lives, and for 24
                     hours after its end, another emit with it adds nothing and returns that one
    priority         -100 to 100, higher runs first; 0
    delay            seconds or a timedelta from now, at most a year, before it may start; none
    delay_until      a datetime before which it does not start, in place of delay; one without
                     a time zone is local time
    max_retries      runs after a first one that failed; what the handler, then processor= says
    retry_delay_ms   whole milliseconds before the first retry; the handler's, processor's, 1000
    timeout          seconds or a timedelta that a run may take; the handler's, else no limit
    expires          seconds or a timedelta from now, or a datetime: a job that has not started
                     by then ends as cancelled; never
    debounce_seconds  a window, in seconds or a timedelta: many emits become one run, of the
                     last one, a window after it. What emits are together is said by
                     debounce_key, else id, else event, partition and data; the job's own id
                     is a new one. An emit while it runs leads to a second run. 0 switches off
                     the debounce of the event's handler, which counts only for emits from
                     processes in which that handler is registered: say it here in others
    debounce         the same window, in whole milliseconds or a timedelta; debounce_ms is
                     another name for it
    debounce_key     any text, what is debounced together
    debounce_max_wait  seconds or a timedelta that a storm without an end waits; 10 windows
    debounce_mode    "trailing", or "leading": the first runs at once, and others are dropped
                     until none came for a window, at most for debounce_max_wait
    repeat           a cron pattern, "@daily" for one, or a dict, see Repeat: a schedule that
                     emits the job at each fire time, in place of a job now. The handle is
                     that of the next fire's job
    correlation_id   text of your own that the job's children inherit; the parent's
    partition        a named share of the queue; "default"
    """

    data: object


class HandlerOptions(TypedDict, total=False):
    """What registerHandler takes beside event, queue and payload; all may be left out.

    options          these, and payload, as a dict
    max_retries      runs after a first one that failed, where emit does not say; processor='s
    retry_delay_ms   whole milliseconds before the first retry; processor's, else 1000
    timeout          seconds or a timedelta that a run may take; no limit
    retry            a RetryPolicy, or a function (job, error) that returns Retry, Discard or a bool
    debounce_seconds  a window, in seconds or a timedelta: many emits become one run; see
                     EmitArguments. It counts for emits that give none themselves, from
                     processes in which this handler is registered: emits from elsewhere need
                     their own
    debounce         the same window, in whole milliseconds or a timedelta; debounce_ms is
                     another name for it
    debounce_max_wait  seconds or a timedelta that a storm without an end waits; 10 windows
    debounce_mode    "trailing" (the last emit runs) or "leading" (the first does); trailing
    repeat           a cron pattern, "@daily" for one, or a dict, see HandlerRepeat: the workers
                     of the queue emit a job at each fire time, exactly one in all. A process
                     that never starts a worker registers nothing
    keep_data        True: a job's data are kept with its end for result_ttl, so that get_job and
                     jobs show have them; False
    """

    options: Mapping[str, Any] | None
    max_retries: int | None
    retry_delay_ms: int | None
    timeout: float | timedelta | None
    retry: RetryPolicy | RetryFunction | None
    debounce: int | timedelta | None
    debounce_ms: int | timedelta | None
    debounce_seconds: float | timedelta | None
    debounce_max_wait: float | timedelta | None
    debounce_mode: Literal["trailing", "leading"] | None
    repeat: str | HandlerRepeat | None
    keep_data: bool


class RetryOptions(TypedDict, total=False):
    """How failed runs are repeated where neither emit nor handler says; {} for the defaults.

    max_retries      runs after a first one that failed; 3
    retry_delay_ms   whole milliseconds before the first retry; 1000
    max_delay_ms     whole milliseconds that no delay is longer than; 32,000
    multiplier       from 1 to 1000, by which "exponential" delays grow; 2
    jitter           True: delays times a random factor from 0.5 to 1; False
    backoff          "exponential", "linear" or "fixed"; exponential
    """

    max_retries: int | None
    retry_delay_ms: int | None
    max_delay_ms: int | None
    multiplier: float | None
    jitter: bool | None
    backoff: Literal["exponential", "linear", "fixed"] | None


class DeadLetterOptions(TypedDict, total=False):
    """Which dead letters a queue keeps, and where; the oldest go first.

    stream           a name: queue q's letters are in the stream tm:{q}:dead:<name>, in place of
                     tm:{q}:dead. Redis keeps the name with the queue, so that whoever reads or
                     replays letters need not know it; the worker that started last counts, and
                     a queue with letters keeps them where they are
    enabled          False: none is kept, deaths are counted and logged only; True
    max_len          letters; 10,000
    max_age          seconds or a timedelta; 30 days
    max_bytes        of all letters together; 256 MiB
    """

    stream: str | None
    enabled: bool | None
    max_len: int | None
    max_age: float | timedelta | None
    max_bytes: int | None


class ProcessorOptions(TypedDict, total=False):
    """What processor= says for all handlers; all may be left out, and in camelCase if you like.

    retry            RetryOptions; left out, nothing is retried that does not ask for it
    dlq              DeadLetterOptions, or a stream name alone
    debounce         seconds or a timedelta, unlike emit's: a job whose id has completed a run
                     within so long is skipped; debounce_seconds is another name for it, and
                     debounce_ms the same in whole milliseconds
    ignore_config_errors  True: unknown options in here are warnings, not errors; False
    """

    retry: RetryOptions | Mapping[str, Any] | None
    dlq: str | DeadLetterOptions | Mapping[str, Any] | None
    debounce: float | timedelta | None
    debounce_seconds: float | timedelta | None
    debounce_ms: int | None
    ignore_config_errors: bool | None


def with_manual(options: type) -> Callable[[F], F]:
    """Have the help of a function end with the manual of the options that it takes."""

    def decorate(function: F) -> F:
        head, _, table = cleandoc(options.__doc__ or "").partition("\n\n")
        function.__doc__ = (
            f"{cleandoc(function.__doc__ or '')}\n\n{head}\n\n{indent(table, '    ')}"
        )
        return function

    return decorate


_KEYWORDS = dict.fromkeys(("queue", "data", "options", *EmitArguments.__annotations__))
OTHER_NAMES = frozenset({"debounce_ms"})


def refuse_unknown(arguments: Mapping[str, Any]) -> None:
    """Raise UnknownOption for an argument that emit does not take."""
    for name in arguments:
        if name not in _KEYWORDS:
            allowed = [name for name in _KEYWORDS if name not in OTHER_NAMES]
            raise UnknownOption(name, ["event", *allowed], EMIT.where)
