"""The application's own code raises anything, in each place in which a worker calls it."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, model_serializer

from taskmanager import Context, Job
from tests.chaos.anything import ANYTHING
from tests.chaos.app import look_around, running, tm
from tests.chaos.workload import WORK


def refuse(data: dict[str, str]) -> dict[str, str]:
    look_around(data["emit"], WORK)
    raise ANYTHING[data["raises"]]


class Unserializable(BaseModel):
    """A result whose serializer raises."""

    raises: str

    @model_serializer
    def write(self) -> dict[str, str]:
        raise ANYTHING[self.raises]


def undecided(job: Job[Any], error: BaseException) -> bool:
    raise ANYTHING[job.data["raises"]]


@tm.middleware
async def rude_around(job: Job[Any], ctx: Context[Any], call_next: Any) -> object:
    result = await call_next()
    if job.event == "rude-middleware":
        raise ANYTHING[job.data["raises"]]
    return result


@tm.registerHandler(
    event="unfit", queue=WORK, payload=Annotated[dict[str, str], AfterValidator(refuse)]
)
@tm.registerHandler(event="rude-middleware", queue=WORK)
async def fine(job: Job[Any]) -> object:
    with running(job) as result:
        return result


@tm.registerHandler(event="rude", queue=WORK)
async def rude(job: Job[Any]) -> object:
    return rude_thread(job)


@tm.registerHandler(event="rude-thread", queue=WORK)
def rude_thread(job: Job[Any]) -> object:
    with running(job):
        raise ANYTHING[job.data["raises"]]


@tm.registerHandler(event="rude-policy", queue=WORK, retry=undecided, options={"max_retries": 3})
async def rude_policy(job: Job[Any]) -> object:
    with running(job):
        raise OSError("the handler's own")


@tm.registerHandler(event="rude-result", queue=WORK)
async def rude_result(job: Job[Any]) -> object:
    with running(job):
        return Unserializable(raises=job.data["raises"])
