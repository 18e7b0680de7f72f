"""How long a job that crashed before keeps others out."""

from __future__ import annotations

from consumers.fetch.solo import exclusive, patience


def test_a_solo_run_keeps_others_out_for_two_leases_and_twice_as_long_after_each_crash() -> None:
    assert [exclusive(crashes, 30.0, waits=False) for crashes in (2, 3, 4, 5)] == [
        60.0, 120.0, 240.0, 480.0,
    ]  # fmt: skip


def test_a_solo_run_that_waits_for_another_job_never_keeps_it_out_for_longer() -> None:
    assert {exclusive(crashes, 30.0, waits=True) for crashes in (2, 5, 900)} == {60.0}


def test_any_number_of_crashes_gives_a_time() -> None:
    assert exclusive(10**9, 30.0, waits=False) == exclusive(10**6, 30.0, waits=False)


def test_a_suspect_waits_for_others_for_half_as_long_as_it_may_keep_them_out() -> None:
    assert [patience(crashes, 30.0, waits=False) for crashes in (2, 3, 4)] == [30.0, 60.0, 120.0]
    assert {patience(crashes, 30.0, waits=True) for crashes in (2, 5, 900)} == {30.0}
