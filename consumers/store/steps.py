"""What the steps of a queue have in common: batches of bounded size, and words for answers."""

from __future__ import annotations

from consumers.errors import BrokenKey, TaskManagerError, UnknownClause

# A script blocks Redis while it runs: 500 items take about 2 ms.
BATCH_ITEMS = 500
BATCH_BYTES = 1024 * 1024


class Streams:
    """Stream keys in the order in which a script's arguments first name them."""

    def __init__(self, keys: list[str]) -> None:
        self.keys = keys
        self._index: dict[str, int] = {}

    def index(self, key: str) -> int:
        """Return the key's number among KEYS, adding it when it is new."""
        found = self._index.get(key)
        if found is None:
            self.keys.append(key)
            found = self._index[key] = len(self.keys)
        return found


def words(answer: bytes) -> list[str]:
    """Return the words of an emit's or a settle's answer, one an item."""
    return answer.decode().split(" ")


def refused_key(word: str) -> TaskManagerError:
    """Return the error behind a word T<key>, or U<clause>."""
    return UnknownClause(word[1:]) if word[0] == "U" else BrokenKey(word[1:])
