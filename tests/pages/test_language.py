"""What users read is plain English, as far as patterns can say."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

import pytest

from tests.pages.habits import HABITS, QUOTED, WORDS, Habit
from tests.pages.steps import PAGES, ROOT
from tests.pages.texts import Text, diagrams, docstrings, examples, help_texts, prose, strings

_SENTENCES = [
    Habit(re.escape(quoted).replace(r"\ ", " "), f'"{plain}"', quoted, plain)
    for quoted, plain in QUOTED.items()
]
_PAGES = [*PAGES, ROOT / "CHANGELOG.md"]
# These are there to explain the words.
_EXPLAIN_WORDS = {"docs/glossary.md", "docs/internals.md"}
# Where a habit may stand, by path and phrase, and why.
_ALLOWED = {
    ("docs/chaos.md", "fenced"): "the name of a check",
    ("taskmanager/handlers/alerts.py", "letter"): "a parameter's name in a line of code",
    ("consumers/telemetry.py", "settled"): "a parameter's name in a line of code",
}


@pytest.mark.parametrize("page", [it.relative_to(ROOT).as_posix() for it in _PAGES])
def test_a_page_has_no_such_habits(page: str) -> None:
    words = () if page in _EXPLAIN_WORDS else WORDS
    text = prose(page, (ROOT / page).read_text())

    assert_plain([text], [*_SENTENCES, *HABITS, *words])


def test_the_help_of_no_command_has_such_habits() -> None:
    assert_plain(help_texts(), [*_SENTENCES, *HABITS, *WORDS])


def test_no_docstring_has_such_habits() -> None:
    assert_plain(docstrings(), [*_SENTENCES, *HABITS])


def test_no_error_and_no_line_of_the_log_has_such_habits() -> None:
    assert_plain(strings(), [*_SENTENCES, *HABITS, *WORDS])


def test_no_example_has_such_habits() -> None:
    assert_plain(examples(), [*_SENTENCES, *HABITS, *WORDS])


def test_no_diagram_has_such_habits() -> None:
    assert_plain(diagrams(), [*_SENTENCES, *HABITS, *WORDS])


@pytest.mark.parametrize("habit", [*HABITS, *WORDS], ids=lambda it: it.bad)
def test_a_habit_is_seen_in_its_bad_example_only(habit: Habit) -> None:
    assert habit.regex.search(habit.bad)
    assert not habit.regex.search(habit.good)


def test_a_phrase_is_found_across_lines_and_not_in_code() -> None:
    page = """\
It runs one job
a key.

```text
one job a key
```

[Emits](meanwhile.md) of `one job a key`.
"""

    assert list(_found([prose("docs/x.md", page)], HABITS)) == [
        'docs/x.md:1: \'one job a key\': write "per second", "per queue", "per job"'
    ]


def assert_plain(texts: Iterable[Text], habits: Iterable[Habit]) -> None:
    found = "\n".join(_found(texts, [*habits]))
    assert not found, f"\n{found}"


def _found(texts: Iterable[Text], habits: Iterable[Habit]) -> Iterator[str]:
    for it in texts:
        for habit in habits:
            for match in habit.regex.finditer(it.text):
                phrase = " ".join(match[0].split())
                if (it.path, phrase.lower()) not in _ALLOWED:
                    line = it.line + it.text.count("\n", 0, match.start())
                    yield f"{it.path}:{line}: {phrase!r}: write {habit.plain}"
