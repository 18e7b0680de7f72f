"""Tasks whose parameters changed from one version to the next; VERSION says which this is."""

from __future__ import annotations

import os
from typing import Any

from taskmanager import TaskManager

tm: TaskManager[Any] = TaskManager()
VERSION = os.environ["VERSION"]

if VERSION == "old":

    @tm.task(event="added")
    async def added_old(name: str) -> list[Any]:
        return [VERSION, name]

    @tm.task(event="needed")
    async def needed_old(name: str) -> list[Any]:
        return [VERSION, name]

    @tm.task(event="removed")
    async def removed_old(name: str, loud: bool = False) -> list[Any]:
        return [VERSION, name, loud]

    @tm.task(event="renamed")
    async def renamed_old(nme: str) -> list[Any]:
        return [VERSION, nme]

    @tm.task(event="narrowed")
    async def narrowed_old(x: int | str) -> list[Any]:
        return [VERSION, x]

    @tm.task(event="before")
    async def task_old() -> list[Any]:
        return [VERSION]

else:

    @tm.task(event="added")
    async def added_new(name: str, times: int = 2) -> list[Any]:
        return [VERSION, name, times]

    @tm.task(event="needed")
    async def needed_new(name: str, must: int) -> list[Any]:
        return [VERSION, name, must]

    @tm.task(event="removed")
    async def removed_new(name: str) -> list[Any]:
        return [VERSION, name]

    @tm.task(event="renamed")
    async def renamed_new(name: str = "") -> list[Any]:
        return [VERSION, name]

    @tm.task(event="narrowed")
    async def narrowed_new(x: int) -> list[Any]:
        return [VERSION, x]

    @tm.task(event="after")
    async def task_new() -> list[Any]:
        return [VERSION]
