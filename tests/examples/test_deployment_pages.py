"""What pages show of an example is what the example has."""

from __future__ import annotations

import re

import pytest

from tests.support.deployed import EXAMPLES, ROOT

DEPLOYMENT = [
    "compose/docker-compose.yml",
    "compose/Dockerfile",
    "systemd/taskmanager-worker.service",
    "systemd/worker.env",
    "kubernetes/worker.yaml",
]
SHOP = ["shop/settings.py", "orders/tasks.py", "orders/views.py", "orders/tests.py"]


def blocks(page: str) -> list[str]:
    """Return the code blocks of a page."""
    text = (ROOT / "docs" / page).read_text()
    return re.findall(r"^```\w+\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("name", DEPLOYMENT)
def test_the_page_on_deployment_shows_the_whole_file(name: str) -> None:
    assert (EXAMPLES / name).read_text() in blocks("deployment.md")


@pytest.mark.parametrize("name", SHOP)
def test_the_page_on_django_shows_a_part_of_the_file(name: str) -> None:
    text = (EXAMPLES / "django_shop" / name).read_text()

    # All below the docstring and the first import.
    assert [it for it in blocks("django.md") if it in text and len(it.splitlines()) > 5]
