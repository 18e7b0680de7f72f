-- Put a worker on the list of those that live, and those that were silent for long off it.
--
-- KEYS[1]  the workers, by their last heartbeat (ms)
-- ARGV[1]  the worker
-- ARGV[2]  how long a worker may be silent (ms)
--
-- Returns nothing. The time is that of Redis: machines' clocks differ.
-- Errors: WRONGTYPE; nothing is written then.
-- include clock
local workers, worker, most_silent = KEYS[1], ARGV[1], tonumber(ARGV[2])
local now = now_ms()
-- Full memory refuses a first write that adds; this one never does.
redis.call('ZREMRANGEBYSCORE', workers, '-inf', now - most_silent)
redis.call('ZADD', workers, now, worker)
