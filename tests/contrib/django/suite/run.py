"""Run one process of Django's runtests.py: ``run.py FOLDER_OF_DJANGOS_TESTS ARGUMENTS``."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

from tests.contrib.django.suite.stand_ins import take_their_place

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    take_their_place()
    sys.argv = [str(folder / "runtests.py"), *sys.argv[2:]]
    sys.path.insert(0, str(folder))
    runpy.run_path(sys.argv[0], run_name="__main__")
