"""The scripts of the example, each a process that ends, with their worker."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.examples.stage import Stage
from tests.support.processes import A_WHOLE_RUN
from tests.support.waiting import eventually

pytestmark = pytest.mark.timeout(2 * A_WHOLE_RUN)


@pytest.fixture
def stage(stage_of: Callable[[str], Stage]) -> Stage:
    return stage_of("scripts")


def test_the_cron_script_prints_a_result_for_each_invoice_and_sends_none_twice(
    stage: Stage,
) -> None:
    stage.worker()

    first, second = stage.run("send_invoices.py"), stage.run("send_invoices.py")

    assert re.fullmatch(r"(20\d\d-\d\d sent to (Ada|Grace|Linus)\n){3}", first)
    assert second == first
    assert stage.completed("invoices") == 3


def test_the_import_emits_a_job_for_each_line_however_many_batches_that_takes(
    stage: Stage, tmp_path: Path
) -> None:
    contacts = tmp_path / "contacts.csv"
    lines = [f"name {number},{number}@example.com\n" for number in range(2500)]
    contacts.write_text("".join(["name,email\n", *lines]))
    stage.worker("-c", "100")

    assert stage.run("import_contacts.py", str(contacts)) == "2500 emitted, 0 dead letters\n"
    assert stage.completed("contacts") == 2500


def test_a_worker_inside_a_program_runs_what_waits_and_ends(stage: Stage) -> None:
    waiting = stage.python("send_invoices.py")
    eventually(lambda: stage.waiting("invoices") == 3, A_WHOLE_RUN)

    log = stage.run("work_off.py")

    assert waiting.wait(A_WHOLE_RUN) == 0, waiting.text
    assert log.count("send_invoice completed") == 3


def test_a_program_without_the_workers_code_emits_by_signature_and_by_name(stage: Stage) -> None:
    stage.worker()

    assert stage.run("other_program.py") == "2026-03 sent to Ada\n2026-03 sent to Grace\n"


def test_a_program_in_any_language_emits_with_the_command(stage: Stage) -> None:
    stage.worker()
    data = '{"customer": "Ada", "month": "2026-03"}'

    emitted = stage.run(
        "-m", "taskmanager", "emit", "send_invoice", "-q", "invoices", "--data", data
    )

    eventually(lambda: stage.completed("invoices") == 1, A_WHOLE_RUN)
    shown = stage.run("-m", "taskmanager", "jobs", "show", emitted.strip(), "-q", "invoices")
    assert '"2026-03 sent to Ada"' in shown
