"""What people do to jobs and queues: cancel, pause, resume; and all that they read."""

from __future__ import annotations

from consumers.jobs.names import check_job_id, check_name
from taskmanager.admin.queues import Reader
from taskmanager.clients.answers import changing
from taskmanager.handles.info import CancelOutcome


class Desk(Reader):
    """Reads and acts for one task manager, on whatever event loop it is asked.

    All methods raise RedisUnavailable when Redis does not answer; acting again is safe.
    """

    async def cancel(self, queue: str, job_id: str, run: int | None) -> CancelOutcome:
        """Cancel a run; None stands for the live one. See JobHandle.cancel."""
        client = self._clients.here()
        check_job_id(job_id)
        with changing(client.where, queue):
            done = await client.operator(queue).cancel(
                job_id, run, result_ttl_ms=client.result_ttl_ms
            )
        return CancelOutcome(done.word)

    async def pause(self, queue: str, event: str | None, *, wait: bool) -> None:
        """Let no job of a queue, or of one event, start; see TaskManager.pause."""
        _check_event(event)
        client = self._clients.here()
        operator = client.operator(queue)
        with changing(client.where, queue):
            number = await operator.pause(event)
            if wait:
                await operator.until_obeyed(number)

    async def resume(self, queue: str, event: str | None) -> None:
        """Take a pause back; see TaskManager.resume."""
        _check_event(event)
        client = self._clients.here()
        operator = client.operator(queue)
        with changing(client.where, queue):
            await operator.resume(event)


def _check_event(event: str | None) -> None:
    if event is not None:
        check_name("event", event)
