"""A command whose last arguments were packed before is sent like any other."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumers.connections.link import Argument, pack, pack_arguments

_ARGUMENTS = st.one_of(
    st.sampled_from([1, 1.0, "1", b"1", 0, -0.0, 0.0]), st.integers(), st.text(), st.binary()
)
_LISTS = st.lists(_ARGUMENTS, min_size=1, max_size=5)
# What is kept packed has no floats: 0.0 equals -0.0.
_HEADS = st.lists(
    st.one_of(st.sampled_from([1, "1", b"1", 0]), st.integers(), st.text(), st.binary()),
    min_size=1,
    max_size=5,
)


@given(_HEADS, _LISTS)
def test_arguments_that_were_packed_before_make_no_difference(
    head: list[Argument], rest: list[Argument]
) -> None:
    assert pack(head, pack_arguments(rest)) == pack([*head, *rest])


@pytest.mark.parametrize("at", range(3))
def test_what_cannot_be_sent_is_refused_wherever_it_is(at: int) -> None:
    head: list[Argument] = ["EVALSHA", 1, "digest"]
    head[at] = None  # type: ignore[call-overload]  # it is what is tested

    with pytest.raises(TypeError):
        pack(head, pack_arguments(["a"]))
