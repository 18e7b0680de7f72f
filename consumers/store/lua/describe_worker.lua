-- Write what a worker tells of itself.
--
-- KEYS[1]  the worker's facts
-- ARGV[1]  how long they are kept (ms)
-- ARGV[2…] field and value of each fact
--
-- Returns nothing.
-- Errors: WRONGTYPE; nothing is written then.
local facts = KEYS[1]
-- Full memory refuses a first write that adds; this one removes nothing.
redis.call('HDEL', facts, 'no such field')
redis.call('HSET', facts, unpack(ARGV, 2))
redis.call('PEXPIRE', facts, ARGV[1])
