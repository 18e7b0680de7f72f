"""The Flask example under gunicorn, with each kind of gunicorn worker that people use."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.examples.stage import APPS, Stage
from tests.examples.web import Answer, Client
from tests.support.processes import A_WHOLE_RUN
from tests.support.waiting import eventually

pytestmark = pytest.mark.timeout(2 * A_WHOLE_RUN)

KINDS = {
    "sync": ("-w", "2"),
    "gthread": ("-w", "1", "--threads", "4"),
    "gevent": ("-w", "2", "-k", "gevent"),
    "preload": ("-w", "2", "--preload"),
    "preload-gevent": ("-w", "2", "--preload", "-k", "gevent", "-c", f"{APPS}/patched.conf.py"),
}
CUSTOMERS = [f"customer {number}" for number in range(8)]


@pytest.fixture
def stage(stage_of: Callable[[str], Stage]) -> Stage:
    return stage_of("flask_app")


def report(web: Client, customer: str, pages: int = 1) -> str:
    """Send the form and return the path of the status page."""
    answer = web.post_form("/reports", customer=customer, pages=pages)
    assert answer.status == 303, answer
    return answer.headers["Location"]


def result(web: Client, where: str) -> Answer:
    """Wait for the end of a report and return what its result answers."""

    def ended() -> Answer | None:
        answer = web.get(f"{where}/result")
        return answer if answer.status != 409 else None

    found = eventually(ended, A_WHOLE_RUN)
    assert found is not None
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_requests_emit_and_read_results_in_every_kind_of_worker(stage: Stage, kind: str) -> None:
    web = stage.gunicorn(*KINDS[kind])
    stage.worker()

    one_by_one = [report(web, customer) for customer in CUSTOMERS]
    with ThreadPoolExecutor(4) as clients:
        at_once = list(clients.map(lambda customer: report(web, customer), CUSTOMERS))

    assert [result(web, it).json["customer"] for it in one_by_one] == CUSTOMERS
    assert [result(web, it).json["customer"] for it in at_once] == CUSTOMERS
    assert len({*one_by_one, *at_once}) == 2 * len(CUSTOMERS)


@pytest.mark.parametrize("kind", ["preload", "preload-gevent"])
def test_an_emit_before_the_fork_leaves_the_processes_their_own_connections(
    stage: Stage, kind: str
) -> None:
    web = stage.gunicorn(*KINDS[kind], app="emits_when_loaded:app")
    stage.worker()

    places = [report(web, customer) for customer in CUSTOMERS]

    assert [result(web, it).json["customer"] for it in places] == CUSTOMERS
    # The application was loaded once, before the fork.
    assert result(web, "/reports/the-master").json["customer"] == "the master"


def test_the_status_page_shows_how_far_a_report_is_until_it_is_cancelled(stage: Stage) -> None:
    web = stage.gunicorn()
    stage.worker()
    assert "<form" in web.get("/").text
    where = report(web, "Ada", 1000)

    eventually(lambda: '<progress value="2.0" max="1000.0">' in web.get(where).text, A_WHOLE_RUN)
    assert web.post_form(f"{where}/cancel").headers["Location"] == where

    assert result(web, where).status == 410
    page = web.get(where).text
    assert "State: cancelled" in page
    assert "refresh" not in page


def test_what_is_unknown_or_not_allowed_is_the_clients_error(stage: Stage) -> None:
    web = stage.gunicorn()

    assert web.get("/reports/unknown").status == 404
    assert web.get("/reports/unknown/result").status == 404
    assert web.get("/reports/no%20id").status == 400
    assert web.post_form("/reports").status == 400


def test_a_redis_that_is_away_is_no_error_of_the_app(stage: Stage) -> None:
    web = stage.gunicorn()
    where = report(web, "Ada")
    stage.server.kill()

    refused = [web.post_form("/reports", customer="Ada"), web.get(where)]
    stage.server.restart()

    assert [it.status for it in refused] == [503, 503]
    assert refused[0].headers["Retry-After"] == "5"
    assert web.post_form(f"{report(web, 'Ada')}/cancel").status == 303


def test_its_own_tests_pass(stage: Stage) -> None:
    assert "4 passed" in stage.run("-m", "pytest", "-q", "-p", "no:cacheprovider")
