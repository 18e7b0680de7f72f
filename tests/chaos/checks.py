"""What must be true of a run: each promise, and when and of which runs it can be judged.

A kind of jobs that comes with a promise of its own adds it to CHECKS.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tests.chaos.blame import Blame
from tests.chaos.figures import counts
from tests.chaos.history import History
from tests.chaos.promises.children import children_with_their_parents
from tests.chaos.promises.emits import (
    enough_was_done,
    never_early,
    no_emit_fails,
    no_generation_too_many,
    nothing_lost,
    nothing_unexpected,
    one_job_a_key,
)
from tests.chaos.promises.ends import (
    counters_agree,
    fenced_means_not_recorded,
    letters_are_whole,
    one_outcome,
    one_state,
    the_right_state,
    what_is_stored_was_run,
    what_was_said_is_stored,
)
from tests.chaos.promises.recovery import nobody_is_deaf, orphans_are_taken_over
from tests.chaos.promises.remains import drained, nobody_died, nothing_stray
from tests.chaos.promises.runs import (
    in_line,
    no_attempt_burnt,
    no_retry_early,
    no_run_without_cause,
    some_runs_were_judged,
)
from tests.chaos.promises.schedule import every_fire_once, the_schedule_goes_on
from tests.chaos.promises.spoils import the_other_queues_go_on
from tests.chaos.promises.storms import (
    no_storm_unexpected,
    storms_are_fewer_runs,
    storms_run_in_time,
    the_last_data_run,
)
from tests.chaos.promises.user_code import (
    every_death_is_told,
    no_context_leaks,
    who_is_cut_off_decides_nothing,
)
from tests.chaos.verdict import Judge, Rules, Violation

__all__ = ["CHECKS", "Check", "Rules", "Violation", "check", "counts", "losses"]

# A fault is noted before it is done, and a loaded machine may wait in between. Seconds.
_LOSS_TAKES = 0.5


@dataclass(frozen=True, slots=True)
class Check:
    """needs_end: it can only be judged when the run is drained.

    of_data: when Redis loses what it held, what was heard of before may be broken.
    """

    judge: Judge
    needs_end: bool = True
    of_data: bool = False


def check(history: History, rules: Rules) -> list[Violation]:
    """Return every violation that can be told by now."""
    return [
        violation
        for it in CHECKS
        if history.snapshot is not None or not it.needs_end
        for violation in it.judge(history, rules)
        if not (it.of_data and _is_lost(violation, history, rules))
    ]


def losses(history: History, rules: Rules) -> list[Violation]:
    """Return what a run that lost data has lost: reported, not condemned."""
    return [
        violation
        for it in CHECKS
        if it.of_data
        for violation in it.judge(history, rules)
        if _is_lost(violation, history, rules)
    ]


def _is_lost(violation: Violation, history: History, rules: Rules) -> bool:
    """Whether Redis lost its data after that was heard of, and may."""
    if rules.keeps_data:
        return False
    return violation.at <= Blame(history, rules).lost_at() + _LOSS_TAKES


CHECKS: Sequence[Check] = (
    Check(one_outcome, needs_end=False),
    Check(one_state),
    Check(nothing_lost, of_data=True),
    Check(no_emit_fails, needs_end=False),
    Check(nothing_unexpected, needs_end=False),
    Check(no_generation_too_many, needs_end=False, of_data=True),
    Check(one_job_a_key, needs_end=False, of_data=True),
    Check(children_with_their_parents, of_data=True),
    Check(the_right_state, needs_end=False),
    Check(what_was_said_is_stored, of_data=True),
    Check(what_is_stored_was_run, of_data=True),
    Check(letters_are_whole),
    Check(fenced_means_not_recorded),
    Check(counters_agree, of_data=True),
    Check(never_early, needs_end=False),
    Check(no_retry_early, needs_end=False),
    Check(no_attempt_burnt, needs_end=False),
    Check(no_context_leaks, needs_end=False),
    Check(who_is_cut_off_decides_nothing, needs_end=False),
    Check(every_death_is_told),
    Check(in_line, needs_end=False, of_data=True),
    Check(no_run_without_cause, needs_end=False),
    Check(orphans_are_taken_over, needs_end=False, of_data=True),
    Check(nobody_is_deaf),
    Check(the_other_queues_go_on, needs_end=False),
    Check(every_fire_once, of_data=True),
    Check(the_schedule_goes_on, of_data=True),
    Check(no_storm_unexpected, of_data=True),
    Check(the_last_data_run, of_data=True),
    Check(storms_run_in_time, of_data=True),
    Check(storms_are_fewer_runs),
    Check(nobody_died, needs_end=False),
    Check(drained),
    Check(nothing_stray),
    Check(enough_was_done),
    Check(some_runs_were_judged),
)
