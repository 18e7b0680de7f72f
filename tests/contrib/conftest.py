"""Which of these tests can be run here."""

from __future__ import annotations

import sys

# tests/contrib/test_django_is_there.py says so in the summary.
collect_ignore = ["django"] if sys.version_info < (3, 12) else []
