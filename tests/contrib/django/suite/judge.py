"""Judge a run of Django's tests: those in known.py must fail, and all others pass."""

from __future__ import annotations

import unittest
from typing import Any

from django.test.runner import DiscoverRunner
from django.test.utils import iter_test_cases

from tests.contrib.django.suite.known import KNOWN


class Judge(DiscoverRunner):
    """Says how many passed and why others did not; the exit code is the number of surprises."""

    def build_suite(self, *args: Any, **kwargs: Any) -> Any:
        """Expect the failure of what is known."""
        suite = super().build_suite(*args, **kwargs)
        for test in iter_test_cases(suite):
            # As unittest.expectedFailure does to a method.
            test.__unittest_expecting_failure__ = _name(test) in KNOWN
        return suite

    def suite_result(self, suite: Any, result: unittest.TestResult, **kwargs: Any) -> int:
        """Return how many tests failed that should not, passed that cannot, or were skipped."""
        failed = {_name(test) for test, _ in [*result.failures, *result.errors]}
        expected = sorted(_name(test) for test, _ in result.expectedFailures)
        surprises = [f"failed: {it}" for it in sorted(failed)]
        surprises += [f"passed, which it cannot: {_name(it)}" for it in result.unexpectedSuccesses]
        surprises += [f"skipped: {_name(test)} ({why})" for test, why in result.skipped]
        passed = result.testsRun - len(failed) - len(expected) - len(result.skipped)
        print(f"\n{passed} of {result.testsRun} of Django's tests passed.")
        for line in [*(f"does not apply: {it}: {KNOWN[it]}" for it in expected), *surprises]:
            print(f"  {line}")
        return len(surprises)


def _name(test: Any) -> str:
    # A subtest's id begins with that of its test.
    return str(test.id().split(" ")[0]).removeprefix("tasks.")
