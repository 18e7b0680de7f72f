"""A web service that emits jobs and reports on them. It runs no handlers.

curl -X POST 'http://localhost:8000/invoices?order=7'
curl http://localhost:8000/invoices/ID
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

from fastapi import FastAPI, HTTPException

from app import make_invoice, tm


@contextlib.asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    async with tm:
        yield


app = FastAPI(lifespan=lifespan)


@app.post("/invoices", status_code=202)
async def create(order: int, pages: int = 3) -> dict[str, str]:
    handle = await make_invoice.emit(order, pages)
    return {"id": handle.id}


@app.get("/invoices/{job_id}")
async def show(job_id: str) -> dict[str, Any]:
    info = await tm.get_job(job_id)
    if info is None:
        raise HTTPException(404)
    progress = await tm.handle(job_id).progress()
    return {"state": info.state, "pages": progress and progress.done, "result": info.result}


@app.get("/health")
async def health() -> dict[str, str]:
    return {"status": "ok"}
