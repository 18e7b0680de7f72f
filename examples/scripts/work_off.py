"""Run the jobs that wait, then exit: a worker inside a program."""

import asyncio
import logging

from jobs import tm

logging.basicConfig(level=logging.INFO)

# Without burst=True it runs until SIGTERM or Ctrl-C.
asyncio.run(tm.run(burst=True))
