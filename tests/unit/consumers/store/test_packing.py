"""Arguments that travel as one."""

from __future__ import annotations

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumers.store.packing import packed

TEXTS = st.lists(st.text(max_size=300) | st.binary(max_size=300), max_size=40)


@given(TEXTS)
def test_texts_come_back_as_their_bytes(texts: list[str | bytes]) -> None:
    found = msgpack.unpackb(packed(texts), raw=True)

    assert found == [it.encode() if isinstance(it, str) else it for it in texts]


@pytest.mark.parametrize("size", [0, 31, 32, 255, 256, 65_535, 65_536])
def test_none_is_of_the_type_that_redis_does_not_know(size: int) -> None:
    # 0xc4 to 0xc6 and 0xd9 came later than the library that Redis has.
    assert packed([b"x" * size])[1] not in (0xC4, 0xC5, 0xC6, 0xD9)
