"""The simulator of the routing benchmark: it agrees with the formulas."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence

import pytest

from benchmarks.routing.choices import shortest, two_choices
from benchmarks.routing.erlang import wait_percentile, waiting_probability
from benchmarks.routing.simulation import Arrival, Fleet, central_queue, own_queues
from benchmarks.routing.traffic import SERVICES, azure_llm, exponential, traffic
from benchmarks.spread import percentile

WORKERS, SLOTS, LOAD = 16, 4, 0.9
SERVERS = WORKERS * SLOTS
MANY = 120_000


def jobs(number: int = MANY, *, seed: int = 7, routes: int = 1) -> list[Arrival]:
    return traffic(
        exponential, number, seed=seed, servers=SERVERS, load=LOAD, mean=1.0, routes=routes
    )


def p99(waits: Sequence[float]) -> float:
    """Return the p99 without the first tenth, in which the queue fills."""
    return percentile(sorted(waits[len(waits) // 10 :]), 0.99)


# Erlang C


@pytest.mark.parametrize(
    ("servers", "load", "probability"),
    # With one server it is the load; the second is in every textbook's table.
    [(1, 0.3, 0.3), (2, 0.5, 1 / 3), (10, 0.8, 0.409), (64, 0.9, 0.311)],
)
def test_erlang_c_has_known_values(servers: int, load: float, probability: float) -> None:
    assert waiting_probability(servers, load) == pytest.approx(probability, abs=0.001)


def test_the_percentile_of_a_wait_is_0_where_fewer_have_to_wait() -> None:
    assert wait_percentile(64, 0.9, 0.5) == 0
    assert wait_percentile(64, 0.9, 0.99) == pytest.approx(0.537, abs=0.001)


def test_the_central_queue_is_within_a_tenth_of_erlang_c() -> None:
    waits = central_queue(jobs(), Fleet.alike(WORKERS, SLOTS))

    settled = waits[MANY // 10 :]
    waited = sum(wait > 0 for wait in settled) / len(settled)
    assert waited == pytest.approx(waiting_probability(SERVERS, LOAD), rel=0.1)
    assert p99(waits) == pytest.approx(wait_percentile(SERVERS, LOAD, 0.99), rel=0.1)


# Queues


def test_a_job_waits_for_the_first_slot_that_is_free() -> None:
    three = [Arrival(0, 10), Arrival(1, 2), Arrival(2, 5)]

    assert central_queue(three, Fleet.alike(1, 2)) == [0, 0, 1]
    assert central_queue(three, Fleet.alike(3, 1)) == [0, 0, 0]


def test_a_slot_takes_the_first_job_that_its_worker_may_run() -> None:
    # Worker 0 runs both routes, worker 1 only the second.
    fleet = Fleet(2, 1, [[0], [0, 1]])
    arrivals = [Arrival(0, 5, 0), Arrival(0, 9, 1), Arrival(1, 1, 1), Arrival(2, 1, 0)]

    assert central_queue(arrivals, fleet) == [0, 0, 4, 4]


def test_a_route_that_most_workers_run_hardly_waits_longer() -> None:
    arrivals = jobs(routes=4)
    most = [[it for it in range(WORKERS) if it % 4 != route] for route in range(4)]

    limited = central_queue(arrivals, Fleet(WORKERS, SLOTS, most))
    free = central_queue([it._replace(route=0) for it in arrivals], Fleet.alike(WORKERS, SLOTS))

    assert p99(limited) == pytest.approx(p99(free), rel=0.1)


def test_queues_of_their_own_wait_much_longer() -> None:
    fleet = Fleet.alike(WORKERS, SLOTS)
    ideal = p99(central_queue(jobs(), fleet))

    assert p99(own_queues(jobs(), fleet, shortest(random.Random(3)))) > 1.5 * ideal
    assert p99(own_queues(jobs(), fleet, two_choices(random.Random(3)))) > 2.5 * ideal


def test_one_worker_has_one_queue_whoever_chooses() -> None:
    fleet = Fleet.alike(1, 2)
    few = jobs(500)

    assert own_queues(few, fleet, shortest(random.Random(1))) == pytest.approx(
        central_queue(few, fleet)
    )


# Choices


def test_the_shortest_queue_is_chosen_among_those_that_may() -> None:
    choose = shortest(random.Random(1))

    assert choose([0, 3, 2], [1, 2]) == 2
    assert {choose([1, 1, 9], [0, 1, 2]) for _ in range(50)} == {0, 1}


def test_two_choices_never_take_the_longest_of_three() -> None:
    choose = two_choices(random.Random(1))

    chosen = Counter(choose([5, 0, 9], [0, 1, 2]) for _ in range(300))
    assert set(chosen) == {0, 1}
    assert choose([5, 0, 9], [2]) == 2


# Traffic


@pytest.mark.parametrize("name", SERVICES)
def test_traffic_has_its_mean_its_load_and_all_routes(name: str) -> None:
    arrivals = traffic(SERVICES[name], 20_000, seed=1, servers=64, load=0.9, mean=0.2, routes=4)

    work = sum(it.service for it in arrivals)
    assert work / len(arrivals) == pytest.approx(0.2, rel=0.05)
    assert work / arrivals[-1].at == pytest.approx(0.9 * 64, rel=0.05)
    assert [it.at for it in arrivals] == sorted(it.at for it in arrivals)
    assert min(Counter(it.route for it in arrivals).values()) > 4_700


def test_a_seed_makes_the_same_traffic() -> None:
    assert jobs(100, seed=1) == jobs(100, seed=1)
    assert jobs(100, seed=1) != jobs(100, seed=2)
    assert azure_llm(50, random.Random(5)) == azure_llm(50, random.Random(5))
