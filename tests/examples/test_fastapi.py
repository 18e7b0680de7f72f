"""The FastAPI example under uvicorn, with its worker."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.examples.stage import Stage
from tests.examples.web import Answer, Client
from tests.support.processes import A_WHOLE_RUN
from tests.support.waiting import eventually

pytestmark = pytest.mark.timeout(2 * A_WHOLE_RUN)


@pytest.fixture
def stage(stage_of: Callable[[str], Stage]) -> Stage:
    return stage_of("fastapi_app")


def report(web: Client, customer: str, pages: int) -> str:
    """Ask for a report and return where to ask for its status."""
    answer = web.post_json("/reports", {"customer": customer, "pages": pages})
    assert answer.status == 202, answer
    where = answer.headers["location"]
    assert where.endswith(f"/reports/{answer.json['id']}")
    return where


def ended(web: Client, where: str) -> dict[str, object]:
    """Wait for the end of a report and return its status."""

    def status() -> dict[str, object] | None:
        found: dict[str, object] = web.get(where).json
        return found if found["finished_at"] is not None else None

    found = eventually(status, A_WHOLE_RUN)
    assert found is not None
    return found


def result(web: Client, where: str) -> Answer:
    return web.get(f"{where}/result?wait=30")


def test_a_report_is_accepted_built_and_read(stage: Stage) -> None:
    web = stage.uvicorn()
    stage.worker()

    where = report(web, "Ada", 2)
    answer = result(web, where)

    assert (answer.status, answer.json) == (200, {"customer": "Ada", "pages": 2})
    status = ended(web, where)
    assert (status["state"], status["attempts"]) == ("completed", 1)
    assert status["progress"] == {**web.get(where).json["progress"], "done": 2, "total": 2}


def test_progress_is_seen_while_a_report_is_built_and_a_cancel_ends_it(stage: Stage) -> None:
    web = stage.uvicorn()
    stage.worker()
    where = report(web, "Ada", 1000)

    def first_pages() -> bool:
        found = web.get(where).json
        progress = found["progress"]
        return found["state"] == "running" and progress is not None and progress["done"] >= 2

    eventually(first_pages, A_WHOLE_RUN)
    assert web.get(f"{where}/result").status == 409
    cancelled = web.delete(where)

    assert (cancelled.status, cancelled.json) == (202, {"outcome": "requested"})
    assert ended(web, where)["state"] == "cancelled"
    assert web.get(f"{where}/result").status == 410
    assert web.delete(where).status == 409


def test_a_report_that_waits_for_a_worker_is_cancelled_at_once(stage: Stage) -> None:
    web = stage.uvicorn()
    where = report(web, "Ada", 2)
    assert web.get(where).json["state"] == "waiting"

    assert web.delete(where).json == {"outcome": "cancelled"}

    assert web.get(where).json["state"] == "cancelled"


def test_what_is_unknown_or_not_allowed_is_the_clients_error(stage: Stage) -> None:
    web = stage.uvicorn()

    assert web.get("/reports/unknown").status == 404
    assert web.get("/reports/unknown/result").status == 404
    assert web.delete("/reports/unknown").status == 404
    assert web.get("/reports/no%20id").status == 422
    assert web.post_json("/reports", {"customer": "Ada", "pages": 0}).status == 422


def test_a_redis_that_is_away_is_no_error_of_the_app(stage: Stage) -> None:
    web = stage.uvicorn()
    where = report(web, "Ada", 1)
    stage.server.kill()

    refused = [web.post_json("/reports", {"customer": "Ada"}), web.get(where)]
    stage.server.restart()

    assert [it.status for it in refused] == [503, 503]
    assert refused[0].headers["retry-after"] == "5"
    assert web.delete(report(web, "Ada", 1)).status == 202


def test_several_web_processes_share_the_queue(stage: Stage) -> None:
    web = stage.uvicorn(processes=2)
    stage.worker()
    customers = [f"customer {number}" for number in range(12)]

    places = [report(web, customer, 1) for customer in customers]

    assert [result(web, it).json["customer"] for it in places] == customers


def test_its_own_tests_pass(stage: Stage) -> None:
    assert "4 passed" in stage.run("-m", "pytest", "-q", "-p", "no:cacheprovider")
