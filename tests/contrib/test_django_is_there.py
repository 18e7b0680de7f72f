"""Where Python is too old for Django's tasks, the summary of a run says so."""

from __future__ import annotations

import sys

import pytest


@pytest.mark.skipif(
    sys.version_info < (3, 12),
    reason="Django 6 needs Python 3.12: `make django` finds one and runs tests/contrib/django",
)
def test_django_is_new_enough_to_have_tasks() -> None:
    import django

    assert django.VERSION >= (6, 0)
