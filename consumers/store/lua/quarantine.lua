-- Move an entry of the outbox that is not a job to the dead letters (G13).
--
-- KEYS[1]  the outbox
-- KEYS[2]  the queue's counters
-- ARGV[1]  prefix of the queue's keys
-- ARGV[2]  entry
-- ARGV[3]  its raw bytes
-- ARGV[4]  what is wrong with it
--
-- Returns 1 when moved, 0 when it is not there any more.
-- Errors: WRONGTYPE; nothing is written then.
-- include tell
-- include lane
-- include dead
local base, entry = ARGV[1], ARGV[2]
local refusal = letters().burial_refusal(base)
if refusal then return redis.error_reply('WRONGTYPE ' .. string.sub(refusal, 2)) end
if redis.call('XDEL', KEYS[1], entry) == 0 then return 0 end
letters().add(base, 'foreign:' .. entry, '', '', { 'reason', 'foreign', 'error', ARGV[4],
  'errors', '', 'delivered', 0, 'raw', ARGV[3] })
redis.pcall('HINCRBY', KEYS[2], 'dead', 1)
return 1
