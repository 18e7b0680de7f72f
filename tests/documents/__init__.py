"""The documents' promises, by their numbers, each with a test on a real server.

A test is named after its item (``test_235_...``); tests/test_documents.py fails when an
item of these lists has none. Where the documents leave something open, or say two things,
the test's docstring says what was decided. Names are in snake_case: camelCase is read inside
dicts only.

The task manager (test_004_*.py)

    235  TaskManager.init makes the one task manager of a process, with the documents' defaults
    236  processor's retry says how often and after which delays all jobs are retried
    237  processor's dlq names the stream of dead letters, or switches it off
    238  processor's debounce skips an id that ran within so many seconds
    239  processor's ignoreConfigErrors makes unknown options warnings
    240  without streamdb the streams are in db, and without ctx a context has emit alone
    241  registerHandler takes one object, a handler and options, or decorates
    242  a handler's repeat.pattern, of five or six fields, fires once in all processes
    243  a handler's attempts are retries after the first run
    244  a handler's debounce makes many emits one run
    245  a handler stands for its queue and event, and a second one replaces it with a warning
    246  a handler is called with (job, ctx), asynchronous or not
    247  job.logger writes text and objects to a log that can be read
    248  ctx.emit emits from a handler, beside the application's own things
    249  emit has defaults for all but the event, and works with and without an event loop
    250  the default id is made of event and data: equal jobs are one while it lives
    251  a higher priority runs first
    252  delayUntil is when a job may start, with a time zone or in local time
    253  retryCount is how often a job is retried
    254  retryDelayMs is the first delay, a second unless it is given
    255  an emit's repeat.pattern makes a schedule
    256  attempts is another name for retryCount, and a handler's number gives way to both
    257  an emit's debounce is in milliseconds
    258  start makes consumer groups, then fetches
    259  stop waits for what runs, for as long as it is told to
    260  getContext returns the handlers' context, whose emit works outside of them
    261  the types of options, handlers and emit can be imported, and are generic
    262  a queue is there once it is used
    263  one worker works on many queues
    264  a consumer has the same name after a restart
    265  a job is acknowledged when its outcome is recorded, not before
    266  delays between retries grow by the same factor
    267  a job without retries left is a dead letter with all that is known of it
    268  debounced emits become one run, of the last data
    269  a delayed job starts when it is due, not before
    270  each layer works without the one above
    271  expose is kept, and nothing listens
    272  the document's examples run as they stand
"""
