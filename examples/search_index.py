"""Keep a search index up to date while people keep editing.

    python examples/search_index.py

Each edit of an article emits a job that indexes its text. People type in bursts, and only
the last text of a burst is worth the work. So the emits of an article are debounced: they
become one run, 0.3 s after the last of them, with the text that reached Redis last, no
matter how many web servers emit. If someone never stops typing, the article is indexed
every 3 s anyway. An edit that arrives during an update of the index leads to another run.

You need no Redis: the program starts a private one and stops it at the end.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable
from typing import TypedDict

from taskmanager import Context, Job, JobHandle, TaskManager

WINDOW_S = 0.3
LONGEST_S = 3
EDITS = 100
TEXTS = {
    "tea": "tea is made of leaves and hot water",
    "coffee": "coffee is made of beans and hot water",
    "soup": "soup is made of water and whatever there is",
}


class Article(TypedDict):
    name: str
    text: str


class Index:
    """The articles by word. This is a dict; in your application it is a search server."""

    def __init__(self) -> None:
        self.updates = 0
        self._articles: dict[str, set[str]] = defaultdict(set)

    def update(self, name: str, words: Iterable[str]) -> None:
        """Make these words, and no others, find the article. It is safe to repeat."""
        for names in self._articles.values():
            names.discard(name)
        for word in words:
            self._articles[word].add(name)
        self.updates += 1

    def find(self, word: str) -> list[str]:
        return sorted(self._articles.get(word, ()))


index = Index()
tm = TaskManager("embedded://", ctx={"index": index})


@tm.registerHandler(event="update-index", max_retries=5)
async def update_index(job: Job[Article], ctx: Context) -> None:
    ctx.index.update(job.data["name"], job.data["text"].split())


async def edit(name: str, text: str) -> JobHandle:
    """Save a text (left out here) and have it indexed."""
    return await tm.emit(
        "update-index",
        data={"name": name, "text": text},
        debounce_seconds=WINDOW_S,
        debounce_key=name,
        debounce_max_wait=LONGEST_S,
    )


async def write(name: str, text: str) -> JobHandle:
    """Type a text that changes with every edit; return the job of its last version."""
    for number in range(EDITS - 1):
        await edit(name, f"draft {number} of {name}")
    return await edit(name, text)


async def main() -> None:
    async with tm:
        await tm.start()
        last = await asyncio.gather(*(write(name, text) for name, text in TEXTS.items()))
        for handle in last:
            await handle.result(timeout=10)
        stats = await tm.stats()
        print(f"{EDITS * len(TEXTS)} edits of {len(TEXTS)} articles")
        print(f"{stats.debounced_total} of them became part of another")
        print(f"{index.updates} updates of the index")
        for word in ("draft", "beans", "water"):
            print(f"  {word:<6} is in {', '.join(index.find(word)) or 'nothing'}")


if __name__ == "__main__":
    asyncio.run(main())
