"""Call a task's function with the data of its job and what the worker injects."""

from __future__ import annotations

from collections.abc import Callable
from inspect import Parameter
from typing import Any

from consumers.jobs.job import Job
from taskmanager.handlers.context import Context
from taskmanager.options.signatures import wrapped_signature_of
from taskmanager.tasks.parameters import Parameters


def caller(function: Callable[..., Any], parameters: Parameters) -> Callable[..., Any]:
    """Return what the engine calls as (job, ctx), or as (job) if no context is injected.

    It passes on what the function returns. A coroutine is passed on as it is: one per call.
    """
    if parameters.rest is not None or any(map(_by_position_only, parameters.given.values())):
        return _by_position(function, parameters)
    contexts, jobs = parameters.contexts, parameters.jobs
    if contexts and not jobs:
        return lambda job, ctx: function(**job.data, **dict.fromkeys(contexts, ctx))
    if jobs and not contexts:
        return lambda job: function(**job.data, **dict.fromkeys(jobs, job))
    if jobs:
        return lambda job, ctx: function(
            **job.data, **dict.fromkeys(contexts, ctx), **dict.fromkeys(jobs, job)
        )
    return lambda job: function(**job.data)


def _by_position_only(it: Parameter) -> bool:
    return it.kind is Parameter.POSITIONAL_ONLY


def _by_position(function: Callable[..., Any], parameters: Parameters) -> Callable[..., Any]:
    """Return the same for a function with *args or positional-only parameters."""
    order = tuple(wrapped_signature_of(function).parameters.values())

    def call(job: Job[Any], ctx: Context[Any] | None = None) -> Any:
        filled = {**dict.fromkeys(parameters.contexts, ctx), **dict.fromkeys(parameters.jobs, job)}
        args, kwargs = _arranged(order, {**job.data, **filled}, parameters.rest)
        return function(*args, **kwargs)

    if parameters.contexts:
        return call
    return lambda job: call(job)


def _arranged(
    order: tuple[Parameter, ...], values: dict[str, Any], rest: str | None
) -> tuple[list[Any], dict[str, Any]]:
    """Return the values by position and by name; defaults fill the gaps between positions."""
    args: list[Any] = []
    further = values.pop(rest, []) if rest is not None else []
    for it in order:
        before_rest = further and it.kind is Parameter.POSITIONAL_OR_KEYWORD
        if before_rest or it.kind is Parameter.POSITIONAL_ONLY:
            args.append(values.pop(it.name, it.default))
    return [*args, *further], values
