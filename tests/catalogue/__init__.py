"""The fault catalogue: each row breaks one thing on purpose and says what must be seen.

A test is named after its row (``test_row_a1_...``) and runs on every server found.
tests/test_catalogue.py fails when a row of these tables has no test. Where the
engine's design decides otherwise than the row, the test's docstring says so.

Processes (test_rows_a.py)

    A1   SIGKILL in the middle of a job
    A2   SIGTERM, the job is shorter than the grace period
    A3   SIGTERM, the job is longer than the grace period; a second signal
    A4   SIGSTOP for longer than the lease, then SIGCONT: a zombie
    A5   SIGSTOP for less than the lease
    A6   a handler blocks the event loop for longer than the lease
    A7   a synchronous handler hangs in its thread past its timeout
    A8   a handler swallows its cancellation
    A9   a handler raises CancelledError itself
    A10  SystemExit, KeyboardInterrupt, GeneratorExit, other BaseExceptions, groups
    A11  StopIteration
    A12  a job that kills its worker: SIGKILL, segmentation fault, os._exit
    A13  RecursionError, MemoryError
    A14  an old version of the code beside the new one
    A15  fork() after connections were made
    A16  many workers start at once, all sweeping
    A17  a crash between the commit and what the worker does after it
    A18  a crash after the handler's effect and before the commit

Redis and its data (test_rows_b*.py)

    B1   kill -9 and a restart with an append-only file, LOADING
    B2   a restart without persistence
    B3   FLUSHALL in the middle of a run
    B4   SCRIPT FLUSH under load
    B5   XGROUP DESTROY by an operator
    B6   DEL of a stream
    B7   out of memory at an emit
    B8   out of memory while jobs run
    B9   an eviction policy that may delete jobs
    B10  a foreign value in one of our keys
    B11  DEBUG SLEEP, and a script that keeps Redis busy
    B12  MISCONF: Redis cannot save
    B13  an append-only file with a truncated tail
    B14  CLIENT KILL of normal and pub/sub connections, again and again
    B15  idle connections are closed after a second
    B16  maxclients is reached
    B17  the password is changed at run time

The network (test_rows_c.py)

    C1   the reply to an emit is lost
    C2   the reply to a completion is lost
    C3   the reply to a read or a reclaim is lost
    C4   the reply to a part of a bulk emit is lost
    C5   connections are half-open
    C6   a reset during every class of commands
    C7   a second of latency
    C8   little bandwidth, and packets of one byte
    C9   10,000 commands cancelled in the middle

Schedules and time (test_rows_e.py, and over processes tests/processes/test_schedules.py)

    E4   a fixed time in the gap of a clock change
    E5   a time that a clock change repeats
    E6   a zone whose clocks skip midnight
    E7   29 February, and a day that never comes
    E8   many workers, one schedule
    E9   no worker for three hours of an hourly schedule
    E10  a worker dies around a fire
    E11  a definition changes while old workers run

Storms, cancel and pause (test_rows_g.py)

    G1   a crash around an emit with an idempotency key
    G2   a key whose job has vanished
    G3   two debounced emits at once from two hosts
    G4   an emit during the run of its storm
    G5   a storm without an end
    G8   a cancel that races with the start
    G9   a pause while jobs run

Two more in test_long_hauls.py: how seldom an idle worker does anything, and how a
worker comes back after a minute without Redis.
"""
