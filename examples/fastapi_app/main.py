"""A web API that hands reports to background workers."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Annotated

from fastapi import Depends, FastAPI, HTTPException, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from taskmanager import (
    InvalidInput,
    JobCancelled,
    JobFailed,
    JobInfo,
    JobNotFound,
    JobState,
    Progress,
    QueueFull,
    RedisUnavailable,
    ResultTimeout,
    TaskManager,
)

from jobs import Report, build_report, tm


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with tm:  # Connects. Jobs run in the workers, not here.
        yield


app = FastAPI(title="Reports", lifespan=lifespan)


def task_manager() -> TaskManager:
    return tm


Manager = Annotated[TaskManager, Depends(task_manager)]


async def report_info(job_id: str, manager: Manager) -> JobInfo:
    info = await manager.get_job(job_id, build_report.queue)
    if info is None:
        raise HTTPException(404, "no such report")
    return info


KnownReport = Annotated[JobInfo, Depends(report_info)]


class NewReport(BaseModel):
    customer: str = Field(min_length=1, max_length=100)
    pages: int = Field(default=3, ge=1, le=1000)


class ReportStatus(BaseModel):
    id: str
    state: JobState
    attempts: int | None
    created_at: datetime | None
    finished_at: datetime | None
    progress: Progress | None


@app.post("/reports", status_code=202)
async def create_report(new: NewReport, request: Request, response: Response) -> dict[str, str]:
    """Emit a job and answer at once, with its id and where to ask for it."""
    handle = await build_report.emit(new.customer, new.pages)
    response.headers["Location"] = str(request.url_for("read_report", job_id=handle.id))
    return {"id": handle.id}


@app.get("/reports/{job_id}")
async def read_report(info: KnownReport, manager: Manager) -> ReportStatus:
    """Return the state and the progress of a report."""
    return ReportStatus(
        id=info.id,
        state=info.state,
        attempts=info.attempts,
        created_at=info.created_at,
        finished_at=info.finished_at,
        progress=await manager.handle(info.id, info.queue).progress(),
    )


@app.get("/reports/{job_id}/result")
async def read_result(job_id: str, wait: Annotated[int, Query(ge=1, le=30)] = 1) -> Report:
    """Return the report, waiting for it for up to `wait` seconds."""
    try:
        return await build_report.handle(job_id).result(timeout=wait)
    except JobNotFound:
        raise HTTPException(404, "no such report") from None
    except ResultTimeout:
        raise HTTPException(409, "the report is not ready") from None
    except (JobFailed, JobCancelled):
        raise HTTPException(410, "there will be no report") from None


@app.delete("/reports/{job_id}", status_code=202)
async def cancel_report(info: KnownReport, manager: Manager) -> dict[str, str]:
    """Cancel a report that waits or runs."""
    outcome = await manager.handle(info.id, info.queue).cancel()
    if not outcome:
        raise HTTPException(409, "the report has ended")
    return {"outcome": outcome}


@app.exception_handler(InvalidInput)
async def refuse(request: Request, error: InvalidInput) -> JSONResponse:
    """Answer 422 for a malformed id, or for data that is too large."""
    return JSONResponse({"detail": str(error)}, 422)


@app.exception_handler(QueueFull)
@app.exception_handler(RedisUnavailable)
async def ask_again_later(request: Request, error: Exception) -> JSONResponse:
    """Answer 503 while Redis is away or the queue is full."""
    return JSONResponse({"detail": "try again later"}, 503, {"Retry-After": "5"})
