"""What guards look like: any text as a key, and nothing that the scripts could misread."""

from __future__ import annotations

import itertools
import re

import pytest

from consumers.jobs import guards

TEXTS = ["", " ", "a", "a b", "\0", "a\0b", "\N{SNOWMAN}", "\udc80", "x" * 100_000, "\n:i=x"]


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: ascii(text[:10]))
def test_a_digest_of_any_text_is_22_characters_of_a_keys_alphabet(text: str) -> None:
    digest = guards.digest_of("event", "default", text)

    assert re.fullmatch(r"[A-Za-z0-9_-]{22}", digest)
    assert digest == guards.digest_of("event", "default", text)


def test_digests_differ_by_event_partition_and_text() -> None:
    parts = ["a", "b", "ab", "a.b"]

    digests = {guards.digest_of(*three) for three in itertools.product(parts, repeat=3)}

    assert len(digests) == len(parts) ** 3


def test_a_guard_says_its_kind_and_its_digest() -> None:
    assert guards.idempotent("digest") == "i digest"


@pytest.mark.parametrize(("mode", "kind"), [("trailing", "t"), ("leading", "l")])
def test_the_guard_of_a_storm_says_its_times_in_ms(mode: guards.Mode, kind: str) -> None:
    guard = guards.debounced("digest", window_ms=5, longest_ms=50, mode=mode)

    assert guard == f"{kind} digest 5 50"
