"""How to test the app: without Redis, and with a private Redis and a worker."""

import asyncio

import pytest
from flask.testing import FlaskClient
from taskmanager import Job

from jobs import build_report, tm
from wsgi import app


@pytest.fixture(scope="session", autouse=True)
def private_redis() -> None:
    """Use a server that starts when it is needed and ends with the tests."""
    tm.configure(redis_url="embedded://")


@pytest.fixture
def client() -> FlaskClient:
    return app.test_client()


def test_the_task_alone() -> None:
    job = Job.fake(None)

    assert build_report("Ada", 2, job) == {"customer": "Ada", "pages": 2}
    assert job.progressed == [(1, 2, None), (2, 2, None)]


def test_the_form_emits_one_job(client: FlaskClient) -> None:
    with tm.capture() as jobs:  # Emits are checked and collected, nothing is sent.
        answer = client.post("/reports", data={"customer": "Ada", "pages": 2})

    assert answer.status_code == 303
    assert answer.location == f"/reports/{jobs[0].id}"
    assert [(job.event, job.data) for job in jobs] == [
        ("build_report", {"customer": "Ada", "pages": 2})
    ]


def test_a_report_is_built(client: FlaskClient) -> None:
    status = client.post("/reports", data={"customer": "Ada", "pages": 2}).location
    assert "State: waiting" in client.get(status).text

    asyncio.run(tm.run(burst=True))  # A worker, until nothing is left to do.

    assert "State: completed" in client.get(status).text
    assert client.get(f"{status}/result").json == {"customer": "Ada", "pages": 2}


def test_an_unknown_report_is_not_found(client: FlaskClient) -> None:
    assert client.get("/reports/unknown").status_code == 404
