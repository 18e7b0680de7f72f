"""The manual of the options that emit, registerHandler and `processor=` take."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from datetime import datetime, timedelta
from inspect import cleandoc
from typing import Any, Literal, TypeAlias, TypedDict, TypeVar

from consumers.errors import UnknownOption
from processors.retries.retry import RetryFunction, RetryPolicy
from processors.schedules.schedule import Missed, Overlap
from taskmanager.options.tables import EMIT

F = TypeVar("F", bound=Callable[..., Any])

DEFAULT_QUEUE = "default"

Names: TypeAlias = list[str] | tuple[str, ...] | Set[str]


class Repeat(TypedDict, total=False):
    """When a schedule emits its job: the dict that `repeat=` of an emit takes.

    Give `pattern` or `every`. The rest may be left out.

    - `pattern`: a cron pattern, minute first, such as `"0 3 * * *"`; with six fields the second
      comes first. Or "@hourly", "@daily", "@midnight", "@weekly", "@monthly", "@yearly",
      "@annually".
    - `every`: an interval instead of a pattern: seconds or a timedelta, from 1 second to 1 year. It
      fires at the multiples of the interval since 1970 in UTC, so a restart does not move it.
    - `tz`: the time zone of the pattern, an IANA name such as "Europe/Berlin". Default: "UTC".
    - `name`: the name of the schedule, unique in its queue. Default: the event; an emit with data
      or a partition adds a digest of them.
    - `missed`: what happens to fire times that passed while no worker ran. "one" emits one job for
      the latest, "skip" none, "all" one for each of the latest 100. Default: "one".
    - `overlap`: what happens at a fire time while the job of an earlier one is still live. "allow"
      emits another, "skip" leaves this fire time out, "queue" waits for the earlier job to end.
      Default: "allow".
    - `version`: if two definitions have the same name, the higher version wins, and among equal
      versions the later one. Default: 0.
    """

    pattern: str
    every: float | timedelta
    tz: str
    name: str
    missed: Missed
    overlap: Overlap
    version: int


class HandlerRepeat(Repeat, total=False):
    """When a schedule emits the job of a handler: the dict that `repeat=` of registerHandler takes.

    It has the keys of Repeat (`pattern`, `every`, `tz`, `name`, `missed`, `overlap`, `version`),
    and more that describe the job:

    - `data`: its payload. Default: {}.
    - `priority`: -100 to 100, higher runs first. Default: 0.
    - `partition`: its share of the queue. Default: "default".
    - `type`, `only`, `anti_affinity`, `region`: which workers may run it, see EmitArguments.
    - `requires`: the same. Default: what the handler requires.
    """

    data: object
    priority: int
    partition: str
    type: str
    requires: Names
    only: Names
    anti_affinity: Names
    region: str


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
    type: str | None
    requires: Names | None
    only: Names | None
    anti_affinity: Names | None
    region: str | None
    reject_unroutable: bool


class EmitOptions(_Options, total=False):
    """The dict that `options=` of an emit takes. EmitArguments explains the keys.

    `attempts` and `retry_count` are other names for `max_retries`. At runtime, each key may also be
    written in camelCase; type checkers accept that in a plain dict only.
    """

    attempts: int | None
    retry_count: int | None


class CallOptions(_Options, total=False):
    """The options that `options()` of a task takes.

    EmitArguments explains the options of a job. There are two more:

    - `queue`: where the job waits, instead of in the task's own queue.
    - `on_success`: True, in a handler, adds the job in the step that records the handler's own job
      as completed. Default: False.
    """

    queue: str
    on_success: bool


class EmitWithoutData(_Options, total=False):
    """The arguments of an emit except the event and the data; see EmitArguments."""

    queue: str
    options: EmitOptions | Mapping[str, Any] | None


class EmitArguments(EmitWithoutData, total=False):
    """The arguments of an emit besides the event. All of them may be left out.

    - `queue`: where the job waits. Default: "default".
    - `data`: the payload: JSON values, a pydantic model or a dataclass. Default: {}. None is stored
      as null.
    - `options`: the arguments below as a dict, see EmitOptions.
    - `id`: the id of the job. While a job with this id is live, another emit of the id adds
      nothing. Default: a hash of event, partition and data.
    - `deduplicate`: False gives the job a random id, so that equal data is not one job. Default:
      True.
    - `idempotency_key`: any text. While a job with this event, partition and key is live, and for
      24 hours after it has ended, another emit with the key adds nothing and returns that job.
    - `priority`: -100 to 100, higher runs first. Default: 0.
    - `delay`: seconds or a timedelta, at most a year, before the job may start.
    - `delay_until`: a datetime before which the job does not start. Without a time zone it is local
      time. Give this or `delay`.
    - `max_retries`: how often the job is run again after a failure. Default: what the handler says,
      then `processor=`.
    - `retry_delay_ms`: whole milliseconds before the first retry. Default: as above, then 1000.
    - `timeout`: seconds or a timedelta that one run may take. Default: what the handler says, else
      no limit.
    - `expires`: seconds or a timedelta from now, or a datetime. A job that has not started by then
      is cancelled with the reason "expired". Default: never.
    - `debounce_seconds`: a window in seconds or a timedelta. Emits that follow each other within
      the window become one run, of the last emit, one window after it. `debounce_key` decides which
      emits belong together, else `id`, else event, partition and data; the job gets a new id. An
      emit during the run starts another burst, and so a second run. 0 switches off a debounce that
      the handler sets. The handler's setting counts only in processes where the handler is
      registered; set it here in others.
    - `debounce`: the same window in whole milliseconds, or a timedelta. `debounce_ms` is another
      name for it.
    - `debounce_key`: any text; emits with the same key are debounced together.
    - `debounce_max_wait`: seconds or a timedelta after which a burst that does not end runs anyway.
      Default: 10 windows.
    - `debounce_mode`: "trailing" runs the last emit. "leading" runs the first at once and drops the
      others until none came for a window, at most for `debounce_max_wait`. Default: "trailing".
    - `repeat`: makes this a schedule: a cron pattern such as "@daily", or a dict, see Repeat. A job
      is emitted at each fire time, and none now. The handle refers to the job of the next fire
      time.
    - `correlation_id`: text of your own, which jobs emitted by this job inherit. Default: the
      correlation id of the job that emits it, if any.
    - `partition`: a named share of the queue. Default: "default".
    - `type`: the type of worker that may run the job. Default: "workers".
    - `requires`: the capabilities that a worker must have to run it, as a list of names; an empty
      list for none. Default: what the handler requires, in processes where it is registered.
    - `only`: the names of the workers that may run it. Default: any.
    - `anti_affinity`: the names of the workers that may not run it. Default: none.
    - `region`: the region of the workers that may run it. Default: any.
    - `reject_unroutable`: True raises NoCapableWorker, and sends nothing, if no live worker of the
      queue may run the job now. Default: False.
    """

    data: object


class HandlerOptions(TypedDict, total=False):
    """The options of registerHandler besides event, queue and payload. All may be left out.

    - `options`: the options below, and `payload`, as a dict.
    - `max_retries`: how often a job is run again after a failure, unless its emit sets it. Default:
      what `retry` says, then `processor=`; if either is given without a number, 3, else 0.
    - `retry_delay_ms`: whole milliseconds before the first retry. Default: what `processor=` says,
      else 1000.
    - `timeout`: seconds or a timedelta that one run may take. Default: no limit.
    - `retry`: a RetryPolicy, or a plain function `(job, error)`. The function returns True or Retry
      to run the job again, Snooze to do so without using up a retry, Discard to cancel it, and
      False or None to give it up.
    - `debounce_seconds`: a window in seconds or a timedelta in which many emits become one run, see
      EmitArguments. It counts for emits that set no window themselves, and only in processes where
      this handler is registered.
    - `debounce`: the same window in whole milliseconds, or a timedelta. `debounce_ms` is another
      name for it.
    - `debounce_max_wait`: seconds or a timedelta after which a burst that does not end runs anyway.
      Default: 10 windows.
    - `debounce_mode`: "trailing" runs the last emit, "leading" the first. Default: "trailing".
    - `repeat`: a schedule: a cron pattern such as "@daily", or a dict, see HandlerRepeat. The
      workers of the queue emit one job at each fire time, exactly one among all of them. A process
      that starts no worker registers no schedule.
    - `keep_data`: True keeps the data of a job along with its result, for the setting `result_ttl`,
      so that `get_job` and the command `jobs show` have it. Default: False.
    - `requires`: the capabilities that a worker must have to run the handler, as a list of names. A
      worker that lacks one leaves the handler out. In processes where the handler is registered,
      emits of its event require them, too, unless they set `requires` themselves. Default: none.
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
    requires: Names | None


class RetryOptions(TypedDict, total=False):
    """How failed jobs are retried if neither emit nor handler says so. {} uses the defaults.

    - `max_retries`: how often a job is run again after a failure. Default: 3.
    - `retry_delay_ms`: whole milliseconds before the first retry. Default: 1000.
    - `max_delay_ms`: whole milliseconds that no delay exceeds. Default: 32,000.
    - `multiplier`: 1 to 1000, the factor by which "exponential" delays grow. Default: 2.
    - `jitter`: True multiplies delays by a random factor from 0.5 to 1. Default: False.
    - `backoff`: "exponential", "linear" or "fixed". Default: "exponential".
    """

    max_retries: int | None
    retry_delay_ms: int | None
    max_delay_ms: int | None
    multiplier: float | None
    jitter: bool | None
    backoff: Literal["exponential", "linear", "fixed"] | None


class DeadLetterOptions(TypedDict, total=False):
    """Which dead letters a queue keeps, and where. The oldest are dropped first.

    - `stream`: a name. The dead letters of queue `q` are then in the stream `tm:{q}:dead:<name>`
      instead of `tm:{q}:dead`. Redis keeps the name with the queue, so commands and producers need
      not know it. The worker that started last decides. A queue with dead letters keeps them where
      they are.
    - `enabled`: False keeps none; dead jobs are only counted and logged. Default: True.
    - `max_len`: how many are kept. Default: 10,000.
    - `max_age`: how long they are kept: seconds or a timedelta. Default: 30 days.
    - `max_bytes`: the size of all of them together. Default: 256 MiB.
    """

    stream: str | None
    enabled: bool | None
    max_len: int | None
    max_age: float | timedelta | None
    max_bytes: int | None


class ProcessorOptions(TypedDict, total=False):
    """What `processor=` sets for all handlers. Every key may be left out, or written in camelCase.

    - `retry`: RetryOptions. Without it, jobs are retried only if a handler or an emit asks for it.
    - `dlq`: DeadLetterOptions, or just the name of the stream.
    - `debounce`: seconds or a timedelta, unlike an emit's, which is in milliseconds. A job is
      skipped if its id has completed a run within this time. `debounce_seconds` is another name for
      it; `debounce_ms` is the same in whole milliseconds.
    - `ignore_config_errors`: True logs unknown options as warnings instead of raising. Default:
      False.
    """

    retry: RetryOptions | Mapping[str, Any] | None
    dlq: str | DeadLetterOptions | Mapping[str, Any] | None
    debounce: float | timedelta | None
    debounce_seconds: float | timedelta | None
    debounce_ms: int | None
    ignore_config_errors: bool | None


def with_manual(options: type) -> Callable[[F], F]:
    """End the help of a function with the manual of the options that it takes."""

    def decorate(function: F) -> F:
        manuals = (cleandoc(it.__doc__ or "") for it in (function, options))
        function.__doc__ = "\n\n".join(manuals)
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
