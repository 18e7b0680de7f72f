"""Workers of two versions side by side: what becomes of jobs whose tasks have changed."""

from __future__ import annotations

from typing import Any

import pytest

from taskmanager import JobFailed, TaskManager
from tests.processes.stage import SLACK, Stage

pytestmark = pytest.mark.timeout(300)


async def test_jobs_of_either_version_find_a_worker_that_takes_them(stage: Stage) -> None:
    async with TaskManager(stage.url) as tm:

        async def emitted(event: str, **data: Any) -> Any:
            return await tm.emit(event, data=data, deduplicate=False)

        async def came_to(handle: Any) -> Any:
            # Each time that it is handed out, either worker may be the first in line.
            return await handle.result(3 * SLACK)

        new = stage.worker("signatures", told={"VERSION": "new"})
        # A default counts where the job runs; what has none is missing.
        assert await came_to(await emitted("added", name="a")) == ["new", "a", 2]
        needed = await emitted("needed", name="a")
        narrowed = await emitted("narrowed", x="s")
        for handle, why in [(needed, "must: Field required"), (narrowed, "x: Input should be")]:
            with pytest.raises(JobFailed, match=f".bad_payload.: {why}"):
                await came_to(handle)
        # The new worker does not know these names, and puts the jobs back.
        removed = await emitted("removed", name="a", loud=True)
        renamed = await emitted("renamed", nme="a")
        before = await emitted("before")
        new.wait_for_line("'removed' does not take 'loud', but a job passes it; such jobs wait")
        new.wait_for_line("'renamed' does not take 'nme'")

        old = stage.worker("signatures", told={"VERSION": "old"})
        assert await came_to(removed) == ["old", "a", True]
        assert await came_to(renamed) == ["old", "a"]
        assert await came_to(before) == ["old"]
        # Neither retries nor the number of hand-outs let one be lost: all run in the new one.
        many = [await emitted("added", name=str(n), times=n) for n in range(10)]
        assert [await came_to(it) for it in many] == [["new", str(n), n] for n in range(10)]
        assert await came_to(await emitted("after")) == ["new"]
        # The letters are replayed once a worker takes them.
        new.terminate()
        assert new.wait() == 0
        assert await came_to(await tm.dlq.replay(needed.id)) == ["old", "a"]
        assert await came_to(await tm.dlq.replay(narrowed.id)) == ["old", "s"]
        old.terminate()
        assert old.wait() == 0
