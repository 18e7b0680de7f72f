"""How to test the app: without Redis, and with a private Redis and a worker."""

import asyncio
from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient
from taskmanager import Job

from jobs import Report, build_report, tm
from main import app


@pytest.fixture(scope="session", autouse=True)
def private_redis() -> None:
    """Use a server that starts when it is needed and ends with the tests."""
    tm.configure(redis_url="embedded://")


@pytest.fixture
def client() -> Iterator[TestClient]:
    with TestClient(app) as client:  # `with` runs the lifespan.
        yield client


def test_the_task_alone() -> None:
    job = Job.fake(None)

    assert asyncio.run(build_report("Ada", 2, job)) == Report(customer="Ada", pages=2)
    assert job.progressed == [(1, 2, None), (2, 2, None)]


def test_a_post_emits_one_job(client: TestClient) -> None:
    with tm.capture() as jobs:  # Emits are checked and collected, nothing is sent.
        answer = client.post("/reports", json={"customer": "Ada", "pages": 2})

    assert answer.status_code == 202
    assert answer.json() == {"id": jobs[0].id}
    assert [(job.event, job.data) for job in jobs] == [
        ("build_report", {"customer": "Ada", "pages": 2})
    ]


def test_a_report_is_built(client: TestClient) -> None:
    job_id = client.post("/reports", json={"customer": "Ada", "pages": 2}).json()["id"]

    asyncio.run(tm.run(burst=True))  # A worker, until nothing is left to do.

    status = client.get(f"/reports/{job_id}").json()
    assert (status["state"], status["progress"]["done"]) == ("completed", 2)
    assert client.get(f"/reports/{job_id}/result").json() == {"customer": "Ada", "pages": 2}


def test_an_unknown_report_is_not_found(client: TestClient) -> None:
    assert client.get("/reports/unknown").status_code == 404
