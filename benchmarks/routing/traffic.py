"""When jobs come and how long they take, from a seed."""

from __future__ import annotations

import csv
import random
from collections.abc import Callable, Mapping
from pathlib import Path

from benchmarks.routing.simulation import Arrival

# An excerpt of the Azure LLM inference trace 2023 by Microsoft, CC BY 4.0: see its README.
TRACE = Path(__file__).parents[1] / "azure_llm" / "requests.csv"
# Seconds: a server that reads 10,000 tokens per second and generates 50, and its overhead.
_A_CONTEXT_TOKEN, _A_GENERATED_TOKEN, _BEFORE = 0.0001, 0.02, 0.02

# Returns so many service times.
Services = Callable[[int, random.Random], list[float]]


def exponential(number: int, rng: random.Random) -> list[float]:
    """Return exponential times with a mean of 1."""
    return [rng.expovariate(1.0) for _ in range(number)]


def azure_llm(number: int, rng: random.Random) -> list[float]:
    """Return the times of requests of the Azure LLM trace in random order, with a mean of 1."""
    with TRACE.open(newline="") as file:
        times = [
            answer_s(int(row["context"]), int(row["generated"])) for row in csv.DictReader(file)
        ]
    mean = sum(times) / len(times)
    return [time / mean for time in rng.choices(times, k=number)]


def answer_s(context: int, generated: int) -> float:
    """Return the seconds that an answer of so many tokens takes."""
    return _BEFORE + _A_CONTEXT_TOKEN * context + _A_GENERATED_TOKEN * generated


SERVICES: Mapping[str, Services] = {"exponential": exponential, "azure-llm": azure_llm}


def traffic(
    services: Services,
    number: int,
    *,
    seed: int,
    servers: int,
    load: float,
    mean: float,
    routes: int,
) -> list[Arrival]:
    """Return so many jobs that come at random, as many as keep a share of the servers busy.

    mean is the mean service time. Each job is of one of the routes, all of them equally often.
    """
    rng = random.Random(seed)
    at, arrivals = 0.0, []
    for service in services(number, rng):
        at += rng.expovariate(load * servers / mean)
        arrivals.append(Arrival(at, service * mean, rng.randrange(routes)))
    return arrivals
