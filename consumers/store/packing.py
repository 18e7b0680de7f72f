"""Many arguments of a script as one, which it takes apart with cmsgpack.

Redis reads and makes each argument of a command anew; of one that holds many, Lua makes only
their texts.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgpack


def packed(texts: Sequence[str | bytes]) -> bytes:
    """Return texts as a MessagePack list.

    Bytes become the old raw type: the library in Redis knows no other for them. Give it no
    numbers: they would be numbers in Lua, where it takes long to make text of one.
    """
    data: bytes = msgpack.packb(texts, use_bin_type=False)
    return data
