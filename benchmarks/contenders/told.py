"""What the benchmark tells a contender, by the environment. Nothing else here reads it.

BENCH_URL      redis://HOST:PORT/DB
BENCH_MARK     the file that handlers leave their mark in
BENCH_SLOTS    handlers at once; 64
BENCH_JOBS     how many jobs to emit; 1000
BENCH_HANDLER  the handler that jobs are for; workers may be told as well, so that those
               with threads have as many as suit it: noop, sleep, sync, typed, wait
BENCH_LOOP     uvloop or asyncio; uvloop
BENCH_PADDING  how many bytes of JSON a small payload is filled up to with text; 0: a number alone
BENCH_RESULTS  1: results are stored of all jobs, not only where they are asked for (typed)
BENCH_DUE      when delayed jobs are due, in Unix seconds
"""

from __future__ import annotations

import os
from urllib.parse import urlsplit

URL = os.environ.get("BENCH_URL", "redis://127.0.0.1:6379/0")
MARK = os.environ.get("BENCH_MARK", os.devnull)
SLOTS = int(os.environ.get("BENCH_SLOTS", "64"))
JOBS = int(os.environ.get("BENCH_JOBS", "1000"))
HANDLER = os.environ.get("BENCH_HANDLER", "noop")
LOOP = os.environ.get("BENCH_LOOP", "uvloop")
PADDING = int(os.environ.get("BENCH_PADDING", "0"))
RESULTS = os.environ.get("BENCH_RESULTS") == "1" or HANDLER == "typed"
DUE = float(os.environ.get("BENCH_DUE", "0"))

# For those who want Redis' address in parts.
_PARTS = urlsplit(URL)
HOST = _PARTS.hostname or "127.0.0.1"
PORT = _PARTS.port or 6379
DATABASE = int(_PARTS.path.strip("/") or "0")
